"""The numbers of a log's lines: thousands at a time against one line after the other."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.logs.lines import Lines, Points
from talweg.logs.prefix import bare, fields_in
from talweg.logs.recipes import NUMBER, Fields

TRAIN = re.compile(rf"it(?P<step>[0-9]+) a=(?P<a>{NUMBER})(?: b=(?P<b>{NUMBER})ms)?(?=[ ,]|$)")
STEPLESS = re.compile(rf"val (?P<val>{NUMBER})\s*$")

Slow = dict[str, list[tuple[int, float, float, int]]]  # by field: line, step, value, rank


def parse(line: str) -> Fields | None:
    return fields_in(line, TRAIN, STEPLESS, scales={"b": 1e-3})


def slow(text: str) -> Slow:
    """One line after the other; a line without a step has that of the last one before it."""
    found: Slow = {}
    last = float("nan")
    for number, line in enumerate(text.split("\n")[:-1]):
        fields = dict(parse(line) or {})
        values: dict[str, float] = {}
        for name, span in fields.items():
            try:
                values[name] = float(line[span.start : span.end].replace(",", "")) * span.scale
            except ValueError:
                values = {}
                break
        last = values.pop("step", last)
        rank = int(values.pop("rank", -1))
        for name, value in values.items():
            found.setdefault(name, []).append((number, last, value, rank))
    return found


def fast(text: str, size: int | None = None) -> tuple[Lines, Slow]:
    raw = text.encode()
    lines = Lines(parse)
    pieces = [raw] if size is None else _pieces(raw, size)
    lines.read(pieces)
    return lines, {name: rows(points) for name, points in lines.points().items()}


def _pieces(raw: bytes, size: int) -> list[bytes]:
    """Pieces of `size` lines."""
    lines = raw.splitlines(keepends=True)
    return [b"".join(lines[at : at + size]) for at in range(0, len(lines), size)]


def rows(points: Points) -> list[tuple[int, float, float, int]]:
    rank = np.full(len(points), -1) if points.rank is None else points.rank
    columns = (points.line, points.step, points.value, rank)
    return [(int(a), float(b), float(c), int(d)) for a, b, c, d in zip(*(x.tolist() for x in columns), strict=True)]


def same(found: Slow, wanted: Slow) -> None:
    assert set(found) == set(wanted)
    for name, wanted_rows in wanted.items():
        assert np.array_equal(np.array(found[name]), np.array(wanted_rows), equal_nan=True), name


NUMBERS = st.one_of(
    st.floats(0, 1e6, allow_subnormal=False).map(lambda x: f"{x:.4f}"),
    st.floats(-100, 100, allow_subnormal=False).map(lambda x: f"{x:.2f}"),
    st.floats(1e-9, 1e9).map(lambda x: f"{x:.3e}"),
    st.floats(1e-300, 1e300).map(repr),
    st.integers(0, 10**20).map(lambda x: f"{x:,}"),
    st.floats(0, 1e12, allow_subnormal=False).map(lambda x: f"{x:,.3f}"),
    st.integers(0, 10**18).map(str),
    st.sampled_from(
        ["nan", "inf", "-inf", "NaN", "-nan", "1.2.3", "1.", ".5", "-", "", "1,2", "0x10", "+3.5", "1e400"]
    ),
)
PREFIXES = st.sampled_from(
    ["", "[rank0]: ", "[rank1]: ", "[rank12]: ", "2026-11-23 12:00:00,394 - INFO - ", "3: ", "0: ", "so I say "]
)
STEPS = st.integers(0, 10**7)
LINES = st.one_of(
    st.builds("{}it{} a={}".format, PREFIXES, STEPS, NUMBERS),
    st.builds("{}it{} a={} b={}ms".format, PREFIXES, STEPS, NUMBERS, NUMBERS),
    st.builds("{}it{} a={} b={}ms, c={}".format, PREFIXES, STEPS, NUMBERS, NUMBERS, NUMBERS),
    st.builds("{}val {}".format, PREFIXES, NUMBERS),
    st.text("it0123456789 a=.b,ms-é\t", max_size=30),
    st.sampled_from(["", " ", "0", "...", "saving checkpoint to out", "Größe 5 µs"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=40), st.integers(1, 7))
def test_any_lines_give_what_a_slow_parse_gives(lines: list[str], size: int) -> None:
    text = "".join(line + "\n" for line in lines)
    wanted = slow(text)
    for pieces in (None, size):
        read, found = fast(text, pieces)
        same(found, wanted)
        assert read.num_lines == len(lines)


def test_many_lines_of_several_kinds_at_once() -> None:
    rng = np.random.default_rng(0)
    text = ""
    for step in range(5_000):
        text += f"it{step} a={rng.normal(5, 2):.4f}" + (f" b={rng.uniform(0, 200):.2f}ms" if step % 3 else "") + "\n"
        text += f"val {rng.uniform(2, 12):.3f}\n" if step % 100 == 0 else ""
    _, found = fast(text)
    same(found, slow(text))
    assert len(found["a"]) == 5_000
    assert len(found["val"]) == 50


def test_parse_is_asked_once_a_skeleton() -> None:
    asked: list[str] = []

    def counting(line: str) -> Fields | None:
        asked.append(line)
        return parse(line)

    Lines(counting).read([b"".join(b"it%d a=%d.5\nnoise %d\n" % (n, n, n) for n in range(1_000))])
    assert len(asked) == 2


def test_a_line_without_a_step_before_any_step_has_none() -> None:
    _, found = fast("val 3.5\nit7 a=1.0\nval 2.5\n")
    assert np.isnan(found["val"][0][1])
    assert found["val"][1][1:3] == (7.0, 2.5)


def test_what_was_not_understood_is_counted_and_shown() -> None:
    lines, _ = fast("it1 a=2.0\nhello\n\n  \nit2 a=3.0\nworld\n")
    reading = lines.reading()
    assert (reading.lines, reading.lines_not_understood) == (6, 2)
    assert reading.unknown == ((2, "hello"), (6, "world"))


def test_a_number_that_is_none_among_its_likes_is_left_out() -> None:
    lines, found = fast("it1 a=2.0\nit2 a=1.2.3\nit3 a=4.0\n")
    assert [row[1] for row in found["a"]] == [1, 3]
    assert lines.num_not_understood == 1


@pytest.mark.parametrize(
    ("text", "steps", "is_cut"),
    [
        ("it1 a=2.50\nit2 a=3.50", [1, 2], False),  # as many decimals as its likes: whole
        ("it1 a=2.50\nit2 a=3.5", [1], True),
        ("it1 a=2.50\nit2 a=", [1], True),
        ("it1 a=2.50\nit", [1], False),  # could be anything: a line like no other, and no point
        ("it2 a=3.50", [], True),  # nothing to compare with
    ],
)
def test_a_last_line_without_an_end(text: str, steps: list[int], is_cut: bool) -> None:
    lines, found = fast(text)
    assert [row[1] for row in found.get("a", [])] == steps
    assert bool(lines.cut) == is_cut
    assert lines.num_lines == text.count("\n") + 1


def test_a_number_that_is_none_in_the_first_line_of_its_kind_spoils_no_other() -> None:
    _, found = fast("it1 a=1.2.3\nit2 a=2.5\nit3 a=3.5\n")
    assert [row[1] for row in found["a"]] == [2, 3]


def test_other_hears_of_the_rest_in_order() -> None:
    heard: list[tuple[str, int, int]] = []

    def other(line: str, number: int, above: int) -> bool:
        heard.append((line, number, above))
        return line.startswith("known")

    lines = Lines(parse, other).read([b"known 1\nit1 a=2.0\nknown 2\n\nit2 a=3.0\n", "Größe\n".encode()])
    assert heard == [("known 1", 0, 0), ("known 2", 2, 1), ("Größe", 5, 2)]
    assert lines.num_not_understood == 1


def test_decimals_are_those_printed() -> None:
    lines = Lines(parse).read([b"it1 a=2.5000 b=12.25ms\nit2 a=3.10e-05 b=1.00ms\n"])
    points = lines.points()
    assert points["a"].decimals == 7  # 3.10e-05
    assert points["b"].decimals == 5  # hundredths of a millisecond, in seconds


def test_a_line_that_is_torn_in_a_number_gives_none() -> None:
    """Of `a=3.4` without the rest that its likes have nobody knows whether it was 3.4 or 3.4567; a whole one counts."""
    whole = "".join(f"it{n} a={n / 7:.4f} b={n}.25ms\n" for n in range(20))
    _, points = fast(whole + "it20 a=3.4\nit21 a=3.4567 b=1.25ms\n")
    assert [step for _, step, _, _ in points["a"]] == [*range(20), 21]
    _, first = fast("it0 a=9.1234\n" + whole.partition("\n")[2])  # the first line of many a trainer lacks a time
    assert first["a"][0] == (0, 0.0, 9.1234, -1)
    _, few = fast("it0 a=9.1\nit1 a=9.1234\nit2 a=9.2\n")  # of one kind, printed as repr does
    assert len(few["a"]) == 3


PREFIXES = (
    "[rank0]:",
    "[rank3]: ",
    "[default0]:",
    "0: ",
    "17: ",
    "(RayTrainWorker pid=2110, ip=10.0.0.7) ",
    "trainer-1  | ",
    "2026-11-23T12:00:00.123456789Z stdout F ",
    "Nov 23 12:00:00 host train[71]: ",
    "2026-11-23 12:00:00,394 - INFO - ",
    "INFO:root:",
    "[2026-11-23 12:00:00,394][__main__][INFO] - ",
    "Map:  40%|████      | 400/1000 [00:01<00:02, 990.10 examples/s]",
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("line", ["n_layer = 6", "  indented: 3", "[section]", "| a | b |", "3.5", "{'a': 1}", ""])
def test_what_is_no_number_is_told_without_a_launchers_prefix(prefix: str, line: str) -> None:
    if prefix.endswith("]:") and line.startswith(" "):
        pytest.skip("some launchers put a space there, and it may be either's")
    assert bare(prefix + line) == line
    assert bare(line) == line
    told: list[str] = []
    Lines(parse, lambda text, number, above: bool(told.append(text)) or True).read([f"{prefix}{line}\n".encode()])
    assert told == [line]


def test_decimals_of_what_is_printed_in_thousands() -> None:
    """2.05K tells tens, and 12K thousands."""
    lines = Lines(lambda line: fields_in(line, re.compile(rf"n (?P<n>{NUMBER})K"), scales={"n": 1e3}))
    assert lines.read([b"n 2.05K\n"]).points()["n"].decimals == -1
    lines = Lines(lambda line: fields_in(line, re.compile(rf"n (?P<n>{NUMBER})K"), scales={"n": 1e3}))
    assert lines.read([b"n 12K\nn 13K\n"]).points()["n"].decimals == -3


def test_numbers_in_groups_are_rounded_once() -> None:
    texts = ["123,456,789,012,345,678,901", "9,007,199,254,740,993", "1,234.56", "12,345.678e2", "1,000"]
    for text in texts:
        _, found = fast(f"it1 a={text}\n")
        assert found["a"][0][2] == float(text.replace(",", "")), text
