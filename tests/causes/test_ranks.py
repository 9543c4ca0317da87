"""The two causes of several ranks on real runs of two processes, and on logs that only look like theirs."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talweg.causes import data_shared_across_ranks, ranks_not_synchronised
from talweg.laws import ranks as law
from talweg.run import Facts, Run, Series
from talweg.simulated import healthy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """By combination: the run whose log holds what the two processes recorded."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("ranks")
    words = [sys.executable, "-m", "tests.causes.two_ranks"]
    started = [
        subprocess.Popen([*words, str(rank), str(folder / "store"), str(folder / "out.json")], cwd=ROOT)
        for rank in (0, 1)
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    found = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return {name: recorded(np.array(losses), np.array(apart)) for name, (losses, apart) in found.items()}


def recorded(losses: np.ndarray, apart: np.ndarray) -> Run:  # type: ignore[type-arg]
    step = np.arange(len(losses))
    return Run(
        train_loss=Series.of(step, losses.mean(axis=1), kind="batch"),
        rank_loss_spread=Series.of(step, np.ptp(losses, axis=1)),
        rank_weight_spread=Series.of(step, apart),
        facts=Facts.stated("test", ranks=2, tokens_per_step=128.0, planned_steps=len(losses)),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "apart", "shared"),
    [
        ("averaged, own", "absent", "absent"),
        ("averaged, shared", "absent", "present"),
        ("alone, own", "present", "absent"),
        ("alone, shared", "absent", "present"),
    ],
)
def test_two_processes(real: dict[str, Run], name: str, apart: str, shared: str) -> None:
    found = ranks_not_synchronised.examine(real[name])
    assert found.verdict == apart, found.because
    found = data_shared_across_ranks.examine(real[name])
    assert found.verdict == shared, found.because


@pytest.mark.slow
def test_losses_alone_do_not_tell_whether_ranks_average(real: dict[str, Run]) -> None:
    for name in ("averaged, own", "alone, own"):
        found = ranks_not_synchronised.examine(replace(real[name], rank_weight_spread=Series()))
        assert found.verdict == "unknown"
        assert found.needs == ("rank_weight_spread",)
        assert found.would_narrow_nats is not None


@pytest.mark.slow
def test_identical_losses_are_enough_to_know_that_weights_are_equal(real: dict[str, Run]) -> None:
    found = ranks_not_synchronised.examine(replace(real["averaged, shared"], rank_weight_spread=Series()))
    assert found.verdict == "absent"


@pytest.mark.parametrize("cause", [data_shared_across_ranks, ranks_not_synchronised])
def test_one_rank_has_none_of_it_and_an_unknown_number_is_asked_for(cause: object) -> None:
    run = healthy(np.random.default_rng(0))
    assert cause.examine(run).verdict == "absent"  # type: ignore[attr-defined]
    unknown = replace(run, facts=replace(run.facts, ranks=None))
    found = cause.examine(unknown)  # type: ignore[attr-defined]
    assert found.verdict == "unknown"
    assert "ranks" in found.needs


def many_ranks(num: int, *, dropout_sd: float | None = None, seed: int = 0) -> Run:
    """Losses of `num` ranks about the healthy curve; dropout_sd: of one batch, told apart by dropout alone."""
    rng = np.random.default_rng(seed)
    run = healthy(rng, ranks=num, batch_sd=0.0)
    own = 0.1 * rng.standard_normal((len(run.train_loss), num))
    if dropout_sd is not None:
        own = own[:, :1] + dropout_sd * rng.standard_normal(own.shape)
    train = replace(run.train_loss, value=run.train_loss.value + own.mean(axis=1))
    return replace(run, train_loss=train, rank_loss_spread=Series.of(train.step, np.ptp(own, axis=1)))


@pytest.mark.parametrize("num", [2, 3, 8, 64])
def test_batches_of_their_own_are_not_called_shared(num: int) -> None:
    found = data_shared_across_ranks.examine(many_ranks(num))
    assert found.verdict == "absent", found.because


def test_the_loss_of_one_rank_of_many_is_allowed_for() -> None:
    """The logged loss is that of rank 0: its scatter is sqrt(1000) times that of the mean."""
    run = many_ranks(1000)
    alone = 0.1 * np.random.default_rng(1).standard_normal(len(run.train_loss))
    noisy = replace(run.train_loss, value=run.train_loss.value + alone)
    assert data_shared_across_ranks.examine(replace(run, train_loss=noisy)).verdict == "absent"


@pytest.mark.parametrize("num", [2, 8])
def test_one_batch_under_dropout_is_still_one_batch(num: int) -> None:
    found = data_shared_across_ranks.examine(many_ranks(num, dropout_sd=0.003))
    assert found.verdict == "present", found.because
    assert "% as far apart" in found.because


def test_weights_that_differ_by_rounding_are_equal() -> None:
    run = many_ranks(4)
    for size, verdict in ((0.0, "absent"), (5e-8, "absent"), (1e-3, "present")):
        step = run.train_loss.step
        found = ranks_not_synchronised.examine(
            replace(run, rank_weight_spread=Series.of(step, np.full(step.size, size)))
        )
        assert found.verdict == verdict, found.because


def test_what_a_step_is_worth_by_hand() -> None:
    """Far above the critical batch a quarter of the batch does as well; far below, a quarter as well."""
    assert law.worth(100.0, 4, 0.001) == pytest.approx(1.0, abs=1e-3)
    assert law.worth(100.0, 4, 1e9) == pytest.approx(0.25, abs=1e-3)
    assert law.worth(100.0, 4, 100.0) == pytest.approx(200 / 500)


def test_the_cost_grows_with_the_ranks_and_is_bounded_by_the_tokens_lost() -> None:
    costs = [law.cost(num, 5e5, 5e9, parameters=124e6, loss=None) for num in (2, 4, 8)]
    values = [cost.value for cost in costs if cost is not None]
    assert len(values) == 3
    assert 0 < values[0] < values[1] < values[2]
    lost = law._cost(1 / 8, 5e9, 124e6, None, None)
    assert lost is not None
    assert values[2] < lost.value
