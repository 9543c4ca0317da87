"""What launchers put before the lines of their programs: timestamps, ranks, levels, pods, progress bars."""

import re
from collections.abc import Mapping

from talweg.logs.recipes import Span, of_match

BAR = r"(?:.*(?:[0-9?] ?[A-Za-z]+/s|[0-9?]s/[A-Za-z]+)[^\]]*\])"  # up to its end: 12.1it/s]
# [rank0]: / (worker pid=7) / 2026-11-23 12:00:00,394 - INFO - / 0: / Nov 23 12:00:00 host unit[71]: / trainer-1  | /
# a progress bar
BEFORE = re.compile(
    rf"{BAR}?"
    r"(?:[A-Za-z0-9][\w.-]*[-_][0-9]+ +\| )?"
    r"(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9:.]{8,15} [\w.-]+ [\w.@/-]+(?:\[[0-9]+\])?:|pod/[\w./-]+ )?"
    r"(?:[\s:|>-]|\[[^\]]*\]|\([^)]*\)|[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}T?|[0-9]{2}/[0-9]{2}/[0-9]{4}"
    r"|[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?:Z|[-+][0-9]{2}:?[0-9]{2})?"
    r"|(?:DEBUG|INFO|WARNING|root|stdout|stderr|[FP](?= )|train(?:\.py)?|__main__|rank ?[0-9]+|[0-9]+)(?=[\s:|\]-]))*+"
)
# What a launcher alone puts at the beginning of a line; BEFORE also takes what a program may well have printed itself.
LAUNCHER = re.compile(
    rf"{BAR}?(?:"
    r"\[(?:rank|default) ?[0-9]+\]:? ?|[0-9]+: |\([^()]*pid=[0-9]+[^()]*\) ?|[A-Za-z0-9][\w.-]*[-_][0-9]+ +\| ?"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[-+][0-9:]+)? (?:std(?:out|err) [FP] )?"
    r"|[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [\w.-]+ [\w.@/-]+(?:\[[0-9]+\])?: "
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}(?:[.,][0-9]+)? - (?:(?:root|__main__) - )?(?:DEBUG|INFO|WARNING) - "
    r"|\[[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}(?:[.,][0-9]+)?\](?:\[[\w.]+\])* ?- |(?:DEBUG|INFO|WARNING):[\w.]+:)*"
)
LONGEST = 2_000  # characters of a line in which a prefix is looked for
RANK = re.compile(r"(?:rank|default|worker|local_rank)\W?([0-9]+)|^\s*\[?([0-9]+)\]?\s*:", re.IGNORECASE)


def bare(line: str) -> str:
    """A line without what a launcher put before it."""
    match = LAUNCHER.match(line[:LONGEST])
    return line if match is None else line[match.end() :]


def core(pattern: re.Pattern[str], line: str) -> re.Match[str] | None:
    """The match of a kind of line, if nothing but a launcher's prefix stands before it."""
    match = pattern.search(line)
    return match if match and BEFORE.fullmatch(line, 0, match.start()) else None


def fields_in(line: str, *patterns: re.Pattern[str], scales: Mapping[str, float] = {}) -> dict[str, Span] | None:
    """The named groups of the first pattern that stands in a line behind nothing but a prefix, and the rank in that.

    A group named step is the step; `scales` multiplies a group's number: {"time": 1e-3} for milliseconds.
    """
    match = next(filter(None, (core(pattern, line) for pattern in patterns)), None)
    if match is None:
        return None
    fields = of_match(match, scales)
    if (rank := rank_in(match)) is not None:
        fields.setdefault("rank", Span(*rank))
    return fields


def without_prefix(line: str) -> str:
    """A line without a launcher's prefix, where it has one with a number (a time, a rank)."""
    match = BEFORE.match(line)
    return line[match.end() :] if match and re.search("[0-9]", match[0]) else line


def rank_in(match: re.Match[str]) -> tuple[int, int] | None:
    """Where the number of the process stands in what is before a match; None where there is none."""
    label = RANK.search(match.string, 0, match.start()) if match.start() else None
    if label is None:
        return None
    return label.span(1) if label[1] is not None else label.span(2)
