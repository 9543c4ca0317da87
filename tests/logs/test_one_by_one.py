"""Lines whose numbers are no plain runs of digits are parsed one by one: with the same values and digits."""

from talweg.logs.lines import Lines
from talweg.logs.recipes import Fields, Span


def test_printed_digits_are_seen_there_too() -> None:
    text = b"s=" + b"\ns=".join(b"%d loss=%.3f" % (step, 5 - step / 8) for step in range(1, 9)) + b"\n"
    parsed = [Lines(lambda line: {"step": Span(2, 3), "loss": Span(9, 14, 1e-3)}), Lines(_odd)]
    plain, odd = (lines.read([text]).points()["loss"] for lines in parsed)
    assert plain.value.tolist() == odd.value.tolist()
    assert plain.decimals == odd.decimals == 6


def _odd(line: str) -> Fields | None:
    """The same numbers, and beside them one that begins within a run of digits, of which there is no recipe."""
    return {"step": Span(2, 3), "loss": Span(9, 14, 1e-3), "tail": Span(11, 14)}
