"""The step of a printed row, which does not say it.

A progress bar on the same stream counts steps: that printed last before a row, or the one drawn anew behind it. Without
bars the epoch tells, as soon as it is known how many steps an epoch has: rows stand logging_steps apart, and

    logging_steps = growth of the epoch from row to row x steps of the run / its last epoch

is a whole number, so that a rough number of steps (the runtime times the steps per second of the summary) fixes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

REGULAR = 0.9  # share of rows that must agree with what is derived of all. Our choice
BAR = "the progress bar"
MOST_TOTALS = 8  # kinds of bars that are tried
FINE = 0.1  # of the distance of two rows: epochs that are printed so finely number the rows. Our choice
NEAR_WHOLE = 0.05  # beyond what the digits leave open, for epochs that do not divide evenly. Our choice


@dataclass(frozen=True, eq=False)
class Lines:
    """Rows and bars by the lines they stand in."""

    row: NDArray[np.int64]  # (N,) line of each row
    epoch: NDArray[np.float64]  # (N,) NaN where a row has none
    digits: NDArray[np.float64]  # (N,) the last digit that is printed of the epoch
    main: NDArray[np.bool_]  # (N,) rows with a training loss; of a log without any, all
    bar: NDArray[np.int64]  # (B,) line of each bar
    count: NDArray[np.float64]  # (B,) n of its n/total
    total: NDArray[np.float64]  # (B,)
    numbered: NDArray[np.float64]  # (N,) the step, where a row says it; NaN otherwise


@dataclass(frozen=True)
class Steps:
    """step: (N,) of each row. unit: "" where they are updates."""

    step: NDArray[np.float64]
    told: str  # how they were found
    planned: int | None = None  # steps of the whole run
    planned_told: str = ""  # by what
    unit: str = ""


def steps_of(lines: Lines, stated: Mapping[str, float]) -> Steps:
    """The step of every row.

    stated: what the log says beside its rows, as far as it does: logging_steps, steps (of the run), steps_per_epoch,
    last_epoch, and steps_low and steps_high, between which the steps of the run lie.
    """
    if np.isfinite(lines.numbered[lines.main]).all():
        return Steps(_of_others(lines, lines.numbered[lines.main]), "the rows")
    parts = [(part, _totals(part, stated.get("steps"))) for part in _parts(lines)]
    by_bars = [_first(_by_bars(part, total) for total in totals) for part, totals in parts]
    if all(found is not None for found in by_bars):
        total = by_bars[-1][1] if by_bars[-1] is not None else None
        steps = np.concatenate([found[0] for found in by_bars if found is not None])
        return Steps(_of_others(lines, steps), BAR, _whole(total), BAR)
    totals = parts[-1][1]
    known = {**stated, "steps": totals[0]} if totals else dict(stated)
    if (by_epoch := _by_epoch(lines, known)) is None:
        return Steps(_of_others(lines, _counted(lines)), "", unit="logged row")
    step, told, believed = by_epoch
    low, high = (believed.get(name, np.nan) for name in ("steps_low", "steps_high"))
    if "steps" not in believed and np.ceil(low) == np.floor(high):
        return Steps(_of_others(lines, step), told, int(np.ceil(low)), "the summary at the end")
    return Steps(_of_others(lines, step), told, _whole(believed.get("steps")), BAR)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


# ---------------------------------------------------------------- bars


def _parts(lines: Lines) -> list[Lines]:
    """The rows with a training loss and the bars of each start of the run: its epochs go back there."""
    main = replace(
        lines,
        row=lines.row[lines.main],
        epoch=lines.epoch[lines.main],
        digits=lines.digits[lines.main],
        numbered=lines.numbered[lines.main],
        main=np.ones(int(lines.main.sum()), dtype=np.bool_),
    )
    cuts = np.flatnonzero(np.diff(main.epoch) < 0) + 1
    if not cuts.size:
        return [main]
    parts = []
    for rows in np.split(np.arange(main.row.size), cuts):
        low = main.row[rows[0] - 1] if rows[0] else -1
        high = main.row[rows[-1] + 1] if rows[-1] + 1 < main.row.size else np.iinfo(np.int64).max
        near = (lines.bar > low) & (lines.bar < high)
        rest = {name: getattr(main, name)[rows] for name in ("row", "epoch", "digits", "numbered", "main")}
        bars = {name: getattr(lines, name)[near] for name in ("bar", "count", "total")}
        parts.append(Lines(**rest, **bars))
    return parts


def _first(found: Iterable[tuple[NDArray[np.float64], float] | None]) -> tuple[NDArray[np.float64], float] | None:
    return next((one for one in found if one is not None), None)


def _totals(lines: Lines, stated: float | None) -> list[float]:
    """n of the bars that may count the steps of training, the likeliest first.

    That bar is there from the first step to the last; those of an evaluation, of which each is shorter, and those of a
    dataset before it, stand in a part of the log.
    """
    found, place = np.unique(lines.total, return_inverse=True)
    if stated is not None and stated in found:
        return [stated]
    first = np.full(found.size, np.iinfo(np.int64).max)
    last = np.zeros(found.size, dtype=np.int64)
    np.minimum.at(first, place, lines.bar)
    np.maximum.at(last, place, lines.bar)
    return [float(found[at]) for at in np.argsort(first - last, kind="stable")[:MOST_TOTALS]]


def _by_bars(lines: Lines, total: float) -> tuple[NDArray[np.float64], float] | None:
    """The count before each row or that behind it, whichever goes up as steps do; None where neither does.

    A bar is drawn at most ten times a second, so that the one before a row may lag; one that is drawn anew behind it is
    exact. Neither is near its row where the stream of the rows was buffered.
    """
    keep = lines.total == total
    bar, count, row = lines.bar[keep], lines.count[keep], lines.row
    place = np.searchsorted(bar, row, side="right") - 1
    if (place < 0).all():
        return None
    before = np.where(place >= 0, count[np.maximum(place, 0)], np.nan)
    behind = np.where(place + 1 < bar.size, count[np.minimum(place + 1, bar.size - 1)], total)
    agreeing = [
        (quality, -order, step) for order, step in enumerate((before, behind)) if (quality := _goes_up(lines, step))
    ]
    if not agreeing:
        return None
    return max(agreeing, key=lambda found: found[:2])[2], total


def _goes_up(lines: Lines, step: NDArray[np.float64]) -> float:
    """0 where these are no steps of the rows; otherwise more the more evenly they lie, and on multiples."""
    epoch, digits = lines.epoch, lines.digits
    if not np.isfinite(step).all() or not (step > 0).all():
        return 0.0
    apart = np.diff(step)
    if not np.all(apart > 0):
        return 0.0
    told = np.isfinite(epoch) & (epoch > 0)
    if told.any():
        best = np.argmax(np.where(told, epoch, -np.inf))
        per_epoch = step[best] / epoch[best]
        off = np.abs(step - per_epoch * epoch)[told]
        if np.mean(off <= 1.5 + per_epoch * (digits[told] + digits[best])) < REGULAR:
            return 0.0
    if not apart.size:
        return 1.0
    usual = np.median(apart)
    return 1.0 + float(np.mean(apart == usual)) + float(np.mean(step % max(usual, 1.0) == 0))


# ---------------------------------------------------------------- epochs


def _by_epoch(lines: Lines, known: Mapping[str, float]) -> tuple[NDArray[np.float64], str, Mapping[str, float]] | None:
    """The steps, what tells them, and what of `known` may be believed."""
    epoch, digits = lines.epoch[lines.main], lines.digits[lines.main]
    if epoch.size < 2 or not np.isfinite(epoch).all():
        return None
    cuts = np.flatnonzero(np.diff(epoch) < 0) + 1
    parts = [_Part(part, last) for part, last in zip(np.split(epoch, cuts), np.split(digits, cuts), strict=True)]
    longest = max(parts, key=lambda part: part.epoch.size)
    growth = longest.growth()
    if growth is None:
        return None
    if not parts[-1].is_fresh(growth[0]):  # a summary counts the steps since training was taken up again
        known = {name: value for name, value in known.items() if name not in ("steps_low", "steps_high")}
    apart = _apart(longest, growth, known)
    if apart is None:
        return None
    every, told = apart
    steps = [part.steps(growth[0], every) for part in parts]
    if any(step is None for step in steps):
        return None
    return np.concatenate([step for step in steps if step is not None]), told, known


@dataclass(frozen=True, eq=False)
class _Part:
    """Rows of one start of the run."""

    epoch: NDArray[np.float64]
    digits: NDArray[np.float64]

    @property
    def first_alone(self) -> bool:
        """Whether the first row is that of logging_first_step: nearer to the beginning than the rows are apart."""
        if self.epoch.size < 3:
            return False
        return bool(self.epoch[0] + 2 * self.digits[0] < 0.9 * np.median(np.diff(self.epoch[1:])))

    def growth(self) -> tuple[float, float] | None:
        """By which the epoch grows from row to row, and how uncertain that is; None where rows are not even."""
        epoch, digits = (self.epoch[1:], self.digits[1:]) if self.first_alone else (self.epoch, self.digits)
        if epoch.size < 2 or epoch[-1] <= epoch[0]:
            return None
        number = _numbers(epoch, digits)
        slope = (epoch[-1] - epoch[0]) / number[-1]
        off = np.abs(epoch - epoch[0] - slope * number)
        if np.mean(off <= digits + digits[0] + 1e-9) < REGULAR:
            return None
        return float(slope), float((digits[0] + digits[-1]) / 2 / number[-1])

    def is_fresh(self, growth: float) -> bool:
        """Whether it begins with the run, as near as can be told."""
        return self.first_alone or bool(self.epoch[0] <= growth + self.digits[0])

    def steps(self, growth: float, every: int) -> NDArray[np.float64] | None:
        """Of each row, where they stand `every` steps apart; None where it is not clear with which they begin."""
        rest = self.epoch[1:] if self.first_alone else self.epoch
        digits = self.digits[1:] if self.first_alone else self.digits
        number = _numbers(rest, digits)
        if self.is_fresh(growth):
            begin = rest / growth - number
            begins = max(1, round(float(np.median(begin)))) if digits[0] < FINE * growth and np.ptp(begin) < 0.5 else 1
        else:
            begin = rest / growth - number
            if digits[0] / growth > 0.45 or np.ptp(begin) > 1.0:
                return None
            begins = max(1, round(float(np.median(begin))))
        step = every * (begins + number)
        return np.append(1.0, step) if self.first_alone else step


def _numbers(epoch: NDArray[np.float64], digits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which row each is, from 0, by its epoch: rows between them may be lost. By their order where it is too coarse."""
    order = np.arange(epoch.size, dtype=np.float64)
    apart = np.diff(epoch)
    usual = float(np.median(apart)) if apart.size else 0.0
    if usual <= 0 or digits.max() > FINE * usual:
        return order
    number = np.append(0.0, np.cumsum(np.round(apart / usual)))
    return number if bool((np.diff(number) >= 1).all()) else order


def _apart(part: _Part, growth: tuple[float, float], known: Mapping[str, float]) -> tuple[int, str] | None:
    """How many steps lie between two rows, and what says so; None where nothing does."""
    slope, error = growth
    if "logging_steps" in known:
        return round(known["logging_steps"]), "logging_steps, printed in the log"
    ways: list[tuple[float, float, str]] = []  # the least and the most that it can be
    if "steps_per_epoch" in known:
        ways.append((*_between(slope, error, known["steps_per_epoch"], 1.0), "the steps of an epoch and the epochs"))
    last = known.get("last_epoch", 0.0)
    if last > 0:
        low = known.get("steps", known.get("steps_low", np.nan)) / (last + 0.5 * known.get("last_digit", 0.0))
        high = known.get("steps", known.get("steps_high", np.nan)) / (last - 0.5 * known.get("last_digit", 0.0))
        if np.isfinite(low + high):
            ways.append(((slope - error) * low, (slope + error) * high, "the steps of the run and the epochs"))
    if part.first_alone:
        first, digit = part.epoch[0], part.digits[0] / 2
        if first > 4 * digit:
            low, high = (slope - error) / (first + digit), (slope + error) / (first - digit)
            ways.append((low, high, "the epochs, the first row being that of step 1"))
    for low, high, told in ways:
        least, most = int(np.ceil(low - NEAR_WHOLE)), int(np.floor(high + NEAR_WHOLE))
        if least == most >= 1:
            return least, told
    return None


def _between(slope: float, error: float, per_epoch: float, off: float) -> tuple[float, float]:
    return (slope - error) * (per_epoch - off), (slope + error) * (per_epoch + off)


# ---------------------------------------------------------------- rows counted, and rows in between


def _counted(lines: Lines) -> NDArray[np.float64]:
    """The number of each row; of a run that was taken up again from that row on which has its epoch."""
    epoch = lines.epoch[lines.main]
    number = np.arange(1.0, epoch.size + 1)
    for at in np.flatnonzero(np.diff(epoch) < 0) + 1:
        earlier = np.flatnonzero(epoch[:at] >= epoch[at])
        number[at:] += number[earlier[0]] - number[at]
    return number


def _of_others(lines: Lines, main: NDArray[np.float64]) -> NDArray[np.float64]:
    """All rows: evaluations stand at the step of the row before them if they have its epoch, else in between."""
    step = np.full(lines.row.size, np.nan)
    step[lines.main] = main
    if lines.main.all():
        return step
    places = np.flatnonzero(lines.main)
    rest = np.flatnonzero(~lines.main)
    after = np.searchsorted(places, rest)
    epoch = lines.epoch[places]
    for row, nearest in zip(rest.tolist(), after.tolist(), strict=True):
        if np.isfinite(lines.numbered[row]):
            step[row] = lines.numbered[row]
            continue
        here = lines.epoch[row]
        low = main[nearest - 1] if nearest else 0.0
        low_epoch = epoch[nearest - 1] if nearest else 0.0
        if not np.isfinite(here) or here <= low_epoch:
            step[row] = low if nearest else (0.0 if here == 0 else np.nan)
            continue
        part = _part_around(epoch, main, nearest)
        found = round(float(np.interp(here, *part))) if part[0][-1] >= here else _beyond(here, *part)
        high = main[nearest] if nearest < main.size and main[nearest] > low else np.inf
        step[row] = min(max(found, low), high)
    return step


def _part_around(
    epoch: NDArray[np.float64], main: NDArray[np.float64], nearest: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs and steps of the rows on both sides, from the beginning of the run where there is none before."""
    low = max(nearest - 1, 0)
    high = nearest + 1 if nearest < main.size and (not nearest or main[nearest] > main[nearest - 1]) else nearest
    epochs, steps = epoch[low:high], main[low:high]
    return np.append(0.0, epochs), np.append(0.0, steps)


def _beyond(here: float, epochs: NDArray[np.float64], steps: NDArray[np.float64]) -> float:
    """At the pace of all steps before."""
    return round(float(steps[-1] * here / epochs[-1])) if epochs[-1] > 0 else float(steps[-1])
