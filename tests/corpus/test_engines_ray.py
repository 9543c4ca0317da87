"""The Ray engine on a cluster of three nodes on loopback, one of which is killed in the middle."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from talweg.corpus.engines import local, ray
from talweg.errors import InputError
from tests.corpus import chain
from tests.corpus.ray_cluster import Cluster
from tests.corpus.test_engines import CHAIN, quiet

pytest.importorskip("ray", reason="the extra `cluster` is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").exists(), reason="finds the processes of a node in /proc"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(3) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _address(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)


def run(work: Path, workers: int | None = None) -> None:
    ray.run(work, workers=workers, progress=quiet, chain=CHAIN)


def reference(work: Path, **tasks: int) -> dict[str, bytes]:
    local.run(chain.plan(work, **tasks), workers=1, progress=quiet, chain=CHAIN)
    return chain.result(work)


def test_three_nodes_give_the_same_bytes_and_do_each_task_once(tmp_path: Path) -> None:
    work, said = chain.plan(tmp_path / "a b'c", survey=6, encode=9, seconds=0.2), list[tuple[str, float, float]]()
    ray.run(work, workers=None, progress=lambda *args: said.append(args), chain=CHAIN)
    assert chain.result(work) == reference(tmp_path / "reference", survey=6, encode=9)
    assert set(Counter(chain.executed(work)).values()) == {1}
    assert set(chain.nodes(work)) == {"0", "1", "2"}
    assert said[:2] == [("survey", 0, 6), ("survey", 1, 6)]
    (work / "executed").unlink()
    chain.output(work, "encode", 3).unlink()
    run(work)
    assert chain.executed(work) == ["encode:3"]
    assert chain.result(work) == chain.result(tmp_path / "reference")


def test_bad_input_arrives_as_itself_and_the_rerun_does_only_what_is_missing(tmp_path: Path) -> None:
    work = chain.plan(tmp_path / "work", survey=6, faults={"survey:4": "input error"})
    with pytest.raises(InputError, match=r"^survey:4 is corrupt; leave it out$"):
        run(work)
    chain.plan(work, survey=6)
    done = {f"survey:{i}" for i in range(6)} - {f"survey:{i}" for i in chain.missing(work, "survey")}
    (work / "executed").unlink()
    run(work)
    assert not done & set(chain.executed(work))
    assert chain.result(work) == reference(tmp_path / "reference", survey=6)


def test_a_process_that_is_killed_is_tried_again_and_one_that_always_dies_is_named(tmp_path: Path) -> None:
    work = chain.plan(tmp_path / "once", survey=4, faults={"survey:1": "SIGKILL"})
    run(work)
    assert Counter(chain.executed(work))["survey:1"] == 2
    work = chain.plan(tmp_path / "always", survey=4, faults={"survey:1": "always SIGKILL"})
    with pytest.raises(
        InputError, match=r"survey: the process of task 1 died 4 times, .*only what is missing"
    ) as caught:
        run(work)
    assert "\n" not in str(caught.value)


def test_a_node_that_is_killed_in_the_middle_loses_nothing(tmp_path: Path, cluster: Cluster) -> None:
    """Its tasks are done by the other nodes; each other task is done once, and no byte differs."""
    cluster.start()
    doomed = str(len(cluster.nodes) - 1)
    work = chain.plan(tmp_path / "work", survey=10, encode=10, seconds=0.5)

    def kill() -> None:
        while not (work / "executed").exists() or doomed not in chain.nodes(work):
            time.sleep(0.02)
        cluster.kill(int(doomed))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    run(work)
    killer.join(10)
    assert not killer.is_alive()
    counts = Counter(chain.executed(work))
    again = {task for task, count in counts.items() if count > 1}
    on_doomed = {task for task, node in zip(chain.executed(work), chain.nodes(work), strict=True) if node == doomed}
    assert again
    assert again <= on_doomed
    assert max(counts.values()) == 2
    assert chain.result(work) == reference(tmp_path / "reference", survey=10, encode=10)


def test_a_driver_that_is_stopped_leaves_what_is_done(tmp_path: Path) -> None:
    """An error in the driver's own progress stands for Ctrl-C: what is at work is cancelled."""
    work = chain.plan(tmp_path / "work", survey=12, seconds=0.3)

    def stop(stage: str, done: float, total: float) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ray.run(work, workers=2, progress=stop, chain=CHAIN)
    done = {f"survey:{i}" for i in range(12)} - {f"survey:{i}" for i in chain.missing(work, "survey")}
    assert 3 <= len(done) <= 5
    (work / "executed").unlink()
    run(work)
    assert not done & set(chain.executed(work))
    assert chain.result(work) == reference(tmp_path / "reference", survey=12)


def test_no_cluster_at_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InputError, match=r"no Ray cluster answers at 127.0.0.1:1 .*; start it, or set RAY_ADDRESS"):
        run(chain.plan(tmp_path))
