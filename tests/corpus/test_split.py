"""The split: no group and no document on both sides, whatever the text; and as much validation as was asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from talweg.corpus import survey
from talweg.corpus.split import LEFT_OUT, TRAIN, VAL, Assignment, assign, sample
from talweg.corpus.survey import Survey
from talweg.errors import InputError
from tests.corpus.texts import planned, rows, write


def surveyed(path: Path, table: list[dict[str, Any]]) -> Survey:
    work = path / "work"
    plan = planned(work, [write(path / "a.parquet", table, row_group_size=50)])
    for index in range(len(plan.tasks)):
        survey.run(work, plan, index, lambda done, total: None)
    return survey.load(work, plan)


def split(found: Survey, share: float = 0.05, seed: int = 0) -> Assignment:
    return assign(found, share * found.total_bytes, share, seed)


def sides(table: list[dict[str, Any]], side: np.ndarray, column: str) -> tuple[set, set]:
    train, val = ({row[column] for row, s in zip(table, side, strict=True) if s == which} for which in (TRAIN, VAL))
    return train, val


def test_hosts_are_kept_together_and_validation_has_its_share(tmp_path: Path) -> None:
    table = rows(2000, hosts=200)
    found = surveyed(tmp_path, table)
    assignment = split(found, 0.05)
    for row in table:
        row["host"] = row["url"].split("/")[2]
    train, val = sides(table, assignment.side, "host")
    assert not train & val
    assert assignment.facts.group_by == "host of url"
    assert (assignment.facts.train_groups, assignment.facts.val_groups) == (len(train), len(val))
    share = found.num_bytes[assignment.side == VAL].sum() / found.total_bytes
    assert 0.05 <= share <= 0.06
    assert (assignment.side != LEFT_OUT).all()


def test_a_seed_draws_one_split_and_another_seed_another(tmp_path: Path) -> None:
    found = surveyed(tmp_path, rows(1000))
    assert (split(found, seed=3).side == split(found, seed=3).side).all()
    assert (split(found, seed=3).side != split(found, seed=4).side).any()


def test_order_and_files_do_not_matter(tmp_path: Path) -> None:
    """The side of a group follows from its name and the seed, so more files of the same text do not reshuffle it."""
    table = rows(800, hosts=100)
    forward = split(surveyed(tmp_path, table)).side
    backward = split(surveyed(tmp_path, table[::-1])).side
    assert (forward == backward[::-1]).all()


def test_one_giant_host_is_split_by_a_finer_group_and_the_rule_says_so(tmp_path: Path) -> None:
    table = rows(400, hosts=1)
    for i, row in enumerate(table):
        row["source"] = f"work-{i % 40}"
    assignment = split(surveyed(tmp_path, table), 0.05)
    train, val = sides(table, assignment.side, "source")
    assert not train & val
    assert assignment.facts.group_by == "source"
    assert "too coarse for that: host of url (1 groups)" in assignment.facts.rule


@pytest.mark.parametrize(
    ("columns", "group_by"),
    [
        (("text", "url", "source", "file_path"), "url"),  # one host, one source, five files, pages
        (("text", "source", "file_path"), "text"),
        (("text",), "text"),
    ],
)
def test_what_is_too_coarse_is_passed_over(tmp_path: Path, columns: tuple[str, ...], group_by: str) -> None:
    table = [{name: row[name] for name in columns} for row in rows(400, hosts=1)]
    found = surveyed(tmp_path, table)
    assignment = split(found, 0.05)
    assert assignment.facts.group_by == group_by
    assert 0.03 < found.num_bytes[assignment.side == VAL].sum() / found.total_bytes < 0.08


def test_validation_of_a_single_group_is_not_taken(tmp_path: Path) -> None:
    table = [{"text": f"page {i:04}", "url": f"http://host{i % 20}/{i}"} for i in range(400)]
    assert split(surveyed(tmp_path, table), 0.05).facts.group_by == "url"
    facts = split(surveyed(tmp_path, table), 0.1).facts
    assert (facts.group_by, facts.val_groups) == ("host of url", 2)


def test_a_host_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    urls = [
        "https://www.Example.org/a",
        "http://example.org",
        "https://user:word@example.org?x",
        "ftp://example.org#top",
        "https://other.org/example.org",
        "",
        "no address",
        "package://pypi:name/file",
    ]
    found = surveyed(tmp_path, [{"text": f"t{i}", "url": url} for i, url in enumerate(urls)])
    hosts = found.groups("host of url")
    assert len({*hosts[:4].tolist()}) == 1
    assert len({*hosts.tolist()}) == 5
    assert (hosts[5:7] == found.hashes[5:7]).all()  # no host: a group of its own


def test_a_text_in_both_is_left_out_of_validation(tmp_path: Path) -> None:
    table = rows(600, hosts=60)
    for row in table[::6]:
        row["text"] = "404 Not Found "
    table[6]["text"] = "404  not found"
    found = surveyed(tmp_path, table)
    assignment = split(found, 0.1)
    train, val = (set(found.hashes[assignment.side == side].tolist()) for side in (TRAIN, VAL))
    assert not train & val
    assert assignment.facts.documents_in_both == (assignment.side == LEFT_OUT).sum() > 0
    assert (assignment.side[::6] != VAL).all()


texts = st.sampled_from(["a", "b", "c c", "C\nc", "d", "e", "f", "g", "h", ""]) | st.text(max_size=5)
hosts = st.sampled_from([f"http://{host}/x" for host in "abcdef"] + [""]) | st.none()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.lists(st.fixed_dictionaries({"text": texts, "url": hosts}), min_size=1, max_size=40),
    share=st.floats(0.01, 0.5),
    seed=st.integers(0, 2**70),
)
def test_nothing_is_ever_on_both_sides(tmp_path: Path, table: list[dict], share: float, seed: int) -> None:
    try:
        found = surveyed(tmp_path, table)
        assignment = split(found, share, seed)
    except InputError:
        assert len({"".join((row["text"] or "").split()).lower() for row in table} - {""}) <= 1
        return
    group = found.groups(assignment.facts.group_by)
    for key in (found.hashes, group):
        assert not set(key[assignment.side == TRAIN].tolist()) & set(key[assignment.side == VAL].tolist())
    assert (assignment.side == TRAIN).any()
    assert (assignment.side == VAL).any()
    assert (assignment.side[found.num_bytes == 0] == LEFT_OUT).all()


def test_one_document_cannot_be_split(tmp_path: Path) -> None:
    for table in ([{"text": "all of it"}], [{"text": "twice"}, {"text": "TWICE"}]):
        with pytest.raises(InputError, match="all the text is one document, or nothing but copies of one"):
            split(surveyed(tmp_path, table))


def test_text_that_is_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every text in column text is empty"):
        surveyed(tmp_path, [{"text": ""}, {"text": " \n"}, {"text": None}])


def test_a_sample_is_training_text_spread_over_all_of_it(tmp_path: Path) -> None:
    found = surveyed(tmp_path, rows(3000))
    side = split(found).side
    train = np.where(side == TRAIN, found.num_bytes, 0)
    taken = sample(train, found.total_bytes // 10, block=20)
    assert (side[taken] == TRAIN).all()
    assert 0.05 < found.num_bytes[taken].sum() / found.total_bytes <= 0.11
    assert all(taken[start : start + 300].any() for start in range(0, 3000, 300))
    assert (sample(train, found.total_bytes) == (side == TRAIN)).all()


def test_groups_that_share_near_duplicates_are_joined(tmp_path: Path) -> None:
    """Hosts in a chain of shared pages end on one side, and the others are split as before."""
    table = rows(600, hosts=60)
    found = surveyed(tmp_path, table)
    clusters = np.arange(600)
    for host in range(10):  # a page of each host is a copy of one of the host before
        clusters[60 + host + 1] = host
    assignment = assign(found, 0.2 * found.total_bytes, 0.2, 0, clusters=clusters)
    host = np.array([int(row["url"].split("/")[2].removeprefix("www.host").removesuffix(".org")) for row in table])
    assert len(set(assignment.side[host <= 10].tolist())) == 1
    assert (assignment.facts.train_groups + assignment.facts.val_groups) == 50
    assert "joined where they share near-duplicates" in assignment.facts.rule
    for cluster in np.unique(clusters):
        assert len(set(assignment.side[clusters == cluster].tolist())) == 1


def test_what_was_left_out_before_stays_out(tmp_path: Path) -> None:
    found = surveyed(tmp_path, rows(600, hosts=60))
    wanted = np.arange(600) % 3 > 0
    assignment = assign(found, 0.2 * found.total_bytes, 0.2, 0, wanted=wanted)
    assert (assignment.side[~wanted] == LEFT_OUT).all()
    assert (assignment.side[wanted] != LEFT_OUT).all()
    assert assignment.facts.documents_in_both == 0


def test_the_input_file_is_a_group_where_there_are_many(tmp_path: Path) -> None:
    for i in range(30):
        write(tmp_path / f"{i:02}.parquet", [{"text": row["text"]} for row in rows(20, seed=i)])
    work = tmp_path / "work"
    plan = planned(work, sorted(tmp_path.glob("*.parquet")))
    for index in range(len(plan.tasks)):
        survey.run(work, plan, index, lambda done, total: None)
    found = survey.load(work, plan)
    assignment = split(found, 0.1)
    assert assignment.facts.group_by == "input file"
    assert len({*zip(np.arange(600) // 20, assignment.side.tolist(), strict=True)}) == 30
