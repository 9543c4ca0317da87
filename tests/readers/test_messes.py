"""Whatever befalls a sample log, the same run is read, or the same without what was destroyed; nothing is invented."""

import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from talweg.errors import InputError
from talweg.logs.assemble import LOSSES
from talweg.readers import read
from talweg.run import COLUMN_NAMES, FACT_NAMES, Run
from tests.conftest import shared
from tests.readers import messes
from tests.readers.messes import DOCUMENT, FILE, LINES, MESSES, PACKINGS, PREFIXES, ROWS, WHERE, Mess, Sample

COLUMNS = tuple(name for name in COLUMN_NAMES if name != "wall_time")  # a launcher's time stamps are news, and true
NEWS = {"resumed_at", "ranks", "train_loss_ranks"}  # facts that a mess may tell
DERIVED = ("seconds_per_step", "skipped_steps")  # some formats' are differences or sums of what stands in several lines
BY_NAME = {mess.name: mess for mess in MESSES}
Points = set[tuple[float, str]]


@cache
def sample(name: str) -> Sample:
    return messes.sample(name, shared)


@cache
def clean(name: str) -> tuple[Run, Run]:
    """The run of a clean sample, and of the same with other losses."""
    import tempfile

    one = sample(name)
    with tempfile.TemporaryDirectory() as folder:
        return saved(Path(folder), one.text.encode()), saved(Path(folder), messes.altered(one).encode())


def saved(folder: Path, content: bytes) -> Run:
    path = folder / "train.log"
    path.write_bytes(content)
    return read(path)


def points(run: Run, column: str) -> Points:
    series = getattr(run, column)
    return set(zip(series.step.tolist(), map(repr, series.value.tolist()), strict=True))


def facts(run: Run) -> dict[str, object]:
    return {name: getattr(run.facts, name) for name in FACT_NAMES if name not in NEWS}


def assert_same(run: Run, expected: Run, *, loses: bool = False, knows: bool = True) -> None:
    """The same points and, with `knows`, facts; with `loses` some points may lack, but none is new."""
    assert run.format == expected.format
    if loses and run.facts.step_unit != expected.facts.step_unit:  # what tells the steps was destroyed, and it says so
        for column in LOSSES:
            assert {value for _, value in points(run, column)} <= {value for _, value in points(expected, column)}
        return
    for column in COLUMNS:
        if loses and column in DERIVED:
            continue
        series, other = getattr(run, column), getattr(expected, column)
        if loses:
            new = points(run, column) - points(expected, column)
            if run.format == "llmc" and column == "val_loss":  # it belongs to the step before it, which may be gone
                new = {point for point in new if point[1] not in {value for _, value in points(expected, column)}}
            assert not new, column
            continue
        np.testing.assert_array_equal(series.step, other.step, err_msg=column)
        np.testing.assert_array_equal(series.value, other.value, err_msg=column)
        assert series.kind == other.kind, column
        assert series.resolution == other.resolution, column
    if not loses:
        assert not knows or facts(run) == facts(expected)
        assert not run.superseded
    assert all(note and "\n" not in note for note in run.reading.notes)


def possible(name: str, mess: Mess) -> None:
    if sample(name).form not in mess.forms:
        pytest.skip(f"{mess.name} befalls {' and '.join(mess.forms)}; this is one of {sample(name).form}")


PAIRS = [(name, mess) for name in WHERE for mess in MESSES if WHERE[name][1] in mess.forms]


@pytest.mark.parametrize(("name", "mess"), PAIRS, ids=[f"{name}-{mess}" for name, mess in PAIRS])
def test_one_mess_changes_nothing(name: str, mess: Mess, tmp_path: Path) -> None:
    expected, _ = clean(name)
    text = mess.change(sample(name).text, random.Random(f"{name} {mess.name}"))
    try:
        run = saved(tmp_path, messes.encoded(text))
    except InputError:
        assert mess.loses
        return
    assert_same(run, expected, loses=mess.loses)
    if mess.loses and run.facts.step_unit == expected.facts.step_unit:
        lost = sum(len(points(expected, column) - points(run, column)) for column in LOSSES)
        assert lost <= 0.6 * sum(len(points(expected, column)) for column in LOSSES)
    if mess.name == "no_line_end":
        assert lost <= 2


@pytest.mark.parametrize("packing", [name for name in PACKINGS if name != "plain"])
@pytest.mark.parametrize("name", WHERE)
def test_how_a_file_is_packed_changes_nothing(name: str, packing: str, tmp_path: Path) -> None:
    if packing == "zst":
        pytest.importorskip("zstandard")
    assert_same(saved(tmp_path, PACKINGS[packing](sample(name).text)), clean(name)[0])


@pytest.mark.parametrize("name", WHERE)
def test_a_last_line_cut_anywhere_gives_the_whole_point_or_none(name: str, tmp_path: Path) -> None:
    """Of a document that is one value only its end tells that it is whole, so that it may be refused."""
    expected, _ = clean(name)
    content = sample(name).text.encode()
    for cut in range(1, 81):
        try:
            run = saved(tmp_path, content[:-cut])
        except InputError:
            assert sample(name).form == DOCUMENT
            continue
        if name != "keras_stdout":  # a bar that is cut off shows what it showed before
            assert_same(run, expected, loses=True)
        most = 3 if sample(name).form != DOCUMENT else 40
        for column in LOSSES:
            lost = points(expected, column) - points(run, column)
            assert not points(run, column) - points(expected, column)
            assert len(lost) <= most, (cut, column)
            assert all(step >= min(step for step, _ in lost) for step, _ in lost)


RESUMABLE = [name for name, (_, form, *_) in WHERE.items() if form != DOCUMENT and name != "keras_csv"]


@pytest.mark.parametrize("name", RESUMABLE)
def test_a_resume_wins_and_what_it_overtook_is_kept(name: str, tmp_path: Path) -> None:
    expected, other = clean(name)
    run = saved(tmp_path, messes.resumed(sample(name)).encode())
    assert run.format == expected.format
    back = [step for step in run.facts.resumed_at or () if step > 0]
    assert len(back) >= 1
    first = min(back)
    for column in LOSSES:
        first_run, second_run, got = points(expected, column), points(other, column), points(run, column)
        early = {point for point in got if point[0] < first}  # an evaluation may follow the step that it is of
        assert early <= first_run | second_run
        assert {step for step, _ in early} == {step for step, _ in first_run if step < first}
        assert {point for point in got if point[0] > first} == {point for point in second_run if point[0] > first}
        if overtaken := {point for point in first_run if point[0] > first}:
            pieces = run.superseded[column]
            kept = {
                (s, repr(v)) for piece in pieces for s, v in zip(piece.step.tolist(), piece.value.tolist(), strict=True)
            }
            assert overtaken <= kept <= first_run
    assert any("goes back" in note or "resume" in note for note in run.reading.notes)


@pytest.mark.parametrize("name", RESUMABLE)
def test_a_resume_that_gives_some_values_again_loses_no_point(name: str, tmp_path: Path) -> None:
    """Few digits are printed, so that a value comes out the same by chance; a learning rate always does."""
    expected, other = clean(name)
    run = saved(tmp_path, messes.resumed(sample(name), every=2).encode())
    for column in ("train_loss", "train_eval_loss", "val_loss", "learning_rate", "grad_norm"):
        steps = getattr(expected, column).step.tolist()
        assert getattr(run, column).step.tolist() == steps, column
        assert points(run, column) <= points(expected, column) | points(other, column), column


@pytest.mark.parametrize("name", RESUMABLE)
def test_of_two_runs_in_one_file_the_last_is_taken(name: str, tmp_path: Path) -> None:
    expected, other = clean(name)
    run = saved(tmp_path, messes.twice(sample(name)).encode())
    assert run.format == expected.format
    for column in LOSSES:
        assert points(run, column) == points(other, column), column
    if sample(name).form in (LINES, FILE):
        assert run.reading.runs == ("1", "2")
        first = read(tmp_path / "train.log", which="1")
        for column in LOSSES:
            assert points(first, column) == points(expected, column), column


@pytest.mark.parametrize("name", [name for name in WHERE if WHERE[name][1] in (LINES, FILE)])
def test_flipped_bytes_damage_their_lines_alone(name: str, tmp_path: Path) -> None:
    expected, _ = clean(name)
    rng = random.Random(name)
    for _ in range(12):
        content = bytearray(sample(name).text.encode())
        flips = rng.randint(1, 4)
        for place in rng.sample(range(len(content)), flips):
            content[place] ^= 1 << rng.randint(0, 7)
        run = saved(tmp_path, bytes(content))
        if run.facts.step_unit != expected.facts.step_unit:
            continue
        for column in (*LOSSES, "learning_rate", "grad_norm", "val_bits_per_byte"):
            new = points(run, column) - points(expected, column)
            assert len(new) <= 2 * flips, (column, new)


# ---------------------------------------------------------------- several at once

ORDER = {name: place for place, name in enumerate(("ranks", "labelled_ranks", *PREFIXES))}
# a torn line is known by its likes, which other messes make unlike: it has a test of its own
AT_ONCE = [mess.name for mess in MESSES if mess.name not in ("no_line_end", "chatter_in_a_table", "torn")]


def combined(name: str, chosen: list[str], packing: str, seed: int, folder: Path) -> None:
    """One launcher's prefix at most, and it comes before the lines of other programs are mixed in."""
    expected, _ = clean(name)
    rng = random.Random(seed)
    launchers = [mess for mess in chosen if mess in ORDER]
    losers = [mess for mess in chosen if BY_NAME[mess].loses]
    others = [mess for mess in chosen if mess not in (*ORDER, "crlf", *losers[1:])]
    text, loses = sample(name).text, False
    early = [mess for mess in others if BY_NAME[mess].loses or mess == "bars_before"]  # befalls what the trainer writes
    late = [mess for mess in others if mess not in early] + (["crlf"] if "crlf" in chosen else [])
    for mess in (*early, *launchers[:1], *late):
        if sample(name).form in BY_NAME[mess].forms:
            text, loses = BY_NAME[mess].change(text, rng), loses or BY_NAME[mess].loses
    try:
        run = saved(folder, PACKINGS[packing](text))
    except InputError:
        assert loses
        return
    assert_same(run, expected, loses=loses, knows="chatter" not in chosen)  # it may end the echo of a configuration


def strategies() -> dict[str, st.SearchStrategy[object]]:
    return {
        "name": st.sampled_from([name for name in WHERE if name != "keras_csv"]),  # a table if its first row is apart
        "chosen": st.lists(st.sampled_from(AT_ONCE), min_size=2, max_size=5, unique=True),
        "packing": st.sampled_from([name for name in PACKINGS if name != "zst"]),
        "seed": st.integers(0, 2**16),
    }


LOOSE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=LOOSE, database=None)
@given(**strategies())
def test_messes_at_once(name: str, chosen: list[str], packing: str, seed: int, tmp_path: Path) -> None:
    combined(name, chosen, packing, seed, tmp_path)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, derandomize=True, suppress_health_check=LOOSE, database=None)
@given(**strategies())
def test_many_messes_at_once(name: str, chosen: list[str], packing: str, seed: int, tmp_path: Path) -> None:
    combined(name, chosen, packing, seed, tmp_path)


# ---------------------------------------------------------------- binary files

BINARY = {
    "tensorboard": "data/formats/tensorboard_torch/run1/events.out.tfevents.1795451070.vm.17428.0",
    "tensorboardX": "data/formats/tensorboardX/run1/events.out.tfevents.1795451084.vm",
    "trackio": "data/formats/trackio/trackio_dir/tiny.db",
    "neptune": "data/formats/neptune_export/TINY-1_part_0.parquet",
}


def damaged(folder: Path, name: str, content: bytes) -> Run | None:
    """The run of a damaged file; None where it was refused, in one line."""
    path = folder / Path(BINARY[name]).name
    path.write_bytes(content)
    message = ""
    try:
        return read(path)
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    return None


@pytest.mark.parametrize("name", BINARY)
def test_a_binary_file_cut_anywhere_gives_what_lies_before_the_cut(name: str, tmp_path: Path) -> None:
    if name == "neptune":
        pytest.importorskip("pyarrow")
    content = shared(BINARY[name]).read_bytes()
    expected = read(shared(BINARY[name]))
    for cut in sorted({1, 4, 7, 12, 17, *(len(content) * share // 40 for share in range(1, 40))}):
        run = damaged(tmp_path, name, content[:-cut])
        if run is not None:
            for column in COLUMNS:
                assert points(run, column) <= points(expected, column), (cut, column)
    if name.startswith("tensorboard"):
        run = damaged(tmp_path, name, content[: len(content) // 2])
        assert run is not None
        assert 100 < len(run.train_loss) < 200


@pytest.mark.parametrize("name", BINARY)
def test_flipped_bytes_of_a_binary_file_invent_nothing_beyond_their_record(name: str, tmp_path: Path) -> None:
    """Parquet keeps no sums of its pages: a flip in a dictionary alters each row that points there."""
    if name == "neptune":
        pytest.importorskip("pyarrow")
    content = shared(BINARY[name]).read_bytes()
    expected = read(shared(BINARY[name]))
    rng = random.Random(name)
    for _ in range(40):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randint(0, 7)
        run = damaged(tmp_path, name, bytes(flipped))
        if run is not None and name != "neptune":
            for column in LOSSES:
                assert len(points(run, column) - points(expected, column)) <= 1, column


def test_the_losses_of_every_sample_are_altered() -> None:
    """The messes above would pass on nothing."""
    for name in WHERE:
        expected, other = clean(name)
        assert any(points(expected, column) - points(other, column) for column in LOSSES), name
        assert len(messes.MESSES) == len({mess.name for mess in MESSES})
    assert {form for _, form, *_ in WHERE.values()} == {LINES, FILE, ROWS, DOCUMENT}
