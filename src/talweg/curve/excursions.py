"""Spikes and jumps: where a curve departs from its neighbours on both sides by more than they scatter.

The curve is looked at in bins of 1, 2, 4, ... points, so that a departure of any length is a matter of one or two bins
in one of the looks. With m the running median of five bins, two statistics at bin i:

    spike_i = y_i less the nearer of m_(i-4), m_(i+4), 0 between them     (i-1 and i+1 may belong to the spike)
    jump_i  = m_(i+3) - m_(i-2)                         between the bins i and i+1

Both are divided by their own robust scatter near i, which therefore holds whatever the autocorrelation does to them; a
jump must stand out from the drift around it as well as from 0. Chances are those of Student's t, with degrees of
freedom that for spikes come from the curve's own tails (single batches of some runs are wild), times the number of
places looked at in all looks.

A fast but continuous fall, as when the learning rate decays within a few logged points, is no drop: most of a drop
(SHARP) passes between two neighbours, and these are not further apart in steps than others.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talweg.curve import line
from talweg.curve.normal import cumulative, quantile_of_tail, student_quantile_of_tail, student_tail
from talweg.curve.points import Array
from talweg.curve.smooth import running_median

JUMP_FREEDOM = 10.0  # of jump over its scatter: simulated noise, normal to t_3 and of lag-1 correlation 0 to 0.9
FREEDOM = (3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0, 40.0)  # of spike: as heavy as the curve's own tails beyond TAIL
TAIL, SURE = 3.0, 2.0  # sd; and values more beyond them than were counted
SHORT, SHORT_FREEDOM = 200, 8.0  # bins under which the tails are not counted but taken for these
SHORT_JUMP_FREEDOM = 6.0  # where the scatter itself is read from few bins
MOST = 200  # places of one kind in one look, the largest first
FEWEST = 16  # bins
AROUND, LEAST_AROUND = 48, 16  # bins in a block from which the scatter is taken; at least four blocks if that allows
SHARP = 0.75  # of a jump that must pass between neighbours
STAYS = 0.3  # of a departure: with less left it has come back
OFFSET = 5.0  # standard errors by which lines before and after a spike must miss each other. Our choice
LITTLE = 0.03  # of the spike: less is not worth a name
NEAR = 6  # bins about a departure in which its own traces are seen
BACK_WITHIN = 0.1  # of the points (or 20), within which a spike comes back
LONG = 20  # bins of a spike that is told by its end
STEEP = 9  # bins at the beginning in which a drop is not told from the fall of a fresh model
MAD_TO_SD = 1.482602218505602


@dataclass(frozen=True)
class Excursion:
    """kind as in CurveEvent; first and last: indices of points; size in the unit of the curve."""

    kind: str
    first: int
    last: int
    width: int  # points in a bin of the look that found it
    size: float
    significance: float


@dataclass(frozen=True, eq=False)
class _Look:
    """The curve in bins of `width` points, the first of which is point `offset`. All arrays (num_bins,)."""

    width: int
    offset: int
    bins: Array
    middle: Array  # running median of five bins
    spike: Array
    jump: Array
    drift: Array  # median of the jumps around
    spike_z: Array
    jump_z: Array

    def points(self, first: int, last: int) -> tuple[int, int]:
        """Indices of the first and last point of the bins first to last."""
        return self.offset + first * self.width, self.offset + (last + 1) * self.width - 1


def excursions(x: Array, y: Array, least: float) -> list[Excursion]:
    """All of a significance above `least`, of those that overlap the highest. (T,) finite, by ascending step."""
    if y.size < FEWEST:
        return []
    y = y - np.median(y)
    change = np.abs(np.diff(y))
    resolution = float(change[change > 0].min()) if change.any() else 0.0
    places = 4.0 * y.size  # two statistics, and all looks together have twice as many bins as the first
    chance = cumulative(-least) / places
    found: list[Excursion] = []
    spike_freedom, width = math.inf, 1
    while y.size // width >= FEWEST:
        look = _look(y, width, resolution)
        freedom = JUMP_FREEDOM if look.bins.size >= SHORT else SHORT_JUMP_FREEDOM
        for i in _peaks(look.jump_z, student_quantile_of_tail(chance, freedom)):
            if (e := _jump(x, y, look, i)) is not None:
                found.append(_judged(e, look.jump_z[i], places, freedom))
        spike_freedom = min(spike_freedom, _freedom(look.spike_z))  # one wild batch fills a bin of many
        for i in _peaks(look.spike_z, student_quantile_of_tail(chance, spike_freedom)):
            e = Excursion("spike", *look.points(i, i), width, float(look.spike[i]), 0.0)
            found.append(_judged(e, look.spike_z[i], places, spike_freedom))
        width *= 2
    return [_settled(x, y, e) if e.kind == "spike" and e.size > 0 else e for e in _without_overlaps(found)]


def _look(y: Array, width: int, resolution: float) -> _Look:
    offset = y.size % width
    bins = y[offset:].reshape(-1, width).mean(axis=1)
    middle = running_median(bins)
    centred, spike, jump = np.zeros_like(bins), np.zeros_like(bins), np.zeros_like(bins)
    low, high = np.minimum(middle[2:-10], middle[10:-2]), np.maximum(middle[2:-10], middle[10:-2])
    centred[6:-6] = bins[6:-6] - 0.5 * (low + high)
    spike[6:-6] = np.maximum(bins[6:-6] - high, 0.0) + np.minimum(bins[6:-6] - low, 0.0)
    jump[4:-5] = middle[7:-2] - middle[2:-7]
    least = 0.5 * resolution / width**0.5  # a median of rounded values may be half a digit too small
    spike_z = spike / _near(centred, 6, least)[1]
    drift, scatter = _near(jump, 5, least)
    beyond = np.where(np.sign(jump - drift) == np.sign(jump), np.minimum(np.abs(jump), np.abs(jump - drift)), 0.0)
    return _Look(width, offset, bins, middle, spike, jump, drift, spike_z, np.sign(jump) * beyond / scatter)


def _near(statistic: Array, ends: int, least: float) -> tuple[Array, Array]:
    """Median and robust sd of the statistic near each bin: by blocks, the sd the middle one of three neighbours."""
    inner = statistic[ends:-ends]
    blocks = max(1, inner.size // min(AROUND, max(LEAST_AROUND, inner.size // 4)))
    length = inner.size // blocks
    first = inner.size - blocks * length
    block = inner[first:].reshape(blocks, length)
    median = np.median(block, axis=1)
    scatter = MAD_TO_SD * np.median(np.abs(block - median[:, None]), axis=1)
    if blocks >= 3:
        three = np.stack([np.append(scatter[1], scatter[:-1]), scatter, np.append(scatter[1:], scatter[-2])])
        scatter = np.median(three, axis=0)
    place = np.clip((np.arange(statistic.size) - ends - first) // length, 0, blocks - 1)
    return median[place], (scatter + max(least, 1e-300))[place]


def _freedom(z: Array) -> float:
    """Degrees of Student's t whose tails beyond TAIL hold as much as those of z, a little more to be sure.

    What lies beyond in a row counts once: wild batches stand alone, and a spike of many values is no proof of many.
    """
    if z.size < SHORT:
        return SHORT_FREEDOM
    beyond = np.abs(z) > TAIL
    rows = int(beyond[0]) + int((beyond[1:] & ~beyond[:-1]).sum())
    share = (rows + SURE) / z.size
    return max((v for v in FREEDOM if 2 * student_tail(TAIL, v) >= share), default=FREEDOM[0])


def _peaks(z: Array, least: float) -> list[int]:
    """Bins whose |z| is above `least` and the largest within five bins, the largest first."""
    size = np.abs(z)
    above = np.flatnonzero(size > least)
    taken: list[int] = []
    for i in above[np.argsort(-size[above], kind="stable")][: 5 * MOST].tolist():
        if size[i] >= size[max(0, i - 5) : i + 6].max():
            taken.append(i)
    return taken[:MOST]


def _jump(x: Array, y: Array, look: _Look, i: int) -> Excursion | None:
    """What the jump between bins i and i + 1 is: a spike where it comes back, else a rise or a drop; None: neither."""
    size = float(look.jump[i])
    sign = 1.0 if size > 0 else -1.0
    after = np.arange(i + 1, min(i + 1 + max(20, int(BACK_WITHIN * look.bins.size)), look.bins.size))
    expected = _slope(look, i, after) * (after - i) if sign > 0 else 0.0  # a curve on its way down hides what is left
    left = sign * (look.middle[after] - look.middle[i - 2] - expected)
    stays = float(np.median(left[left.size // 2 :]))
    if stays < STAYS * abs(size):
        top = int(np.argmax(left))
        onset = int(np.flatnonzero(left >= STAYS * left[top])[0])
        back = np.flatnonzero(left[top:] < STAYS * abs(size))
        end = top + int(back[0]) - 1 if back.size else left.size - 1
        points = look.points(int(after[onset]), int(after[max(end, onset)]))
        return Excursion("spike", *points, look.width, size, 0.0)
    cut = _cut(y, look, i, sign)
    if sign < 0 and (begins := _begins(look, i)) is not None:
        return Excursion("spike", *look.points(begins, i), look.width, abs(size), 0.0)
    if sign > 0:
        highest = float(look.bins[i + 1 : i + 7].max() - look.middle[i - 2])
        if highest > 2 * stays:
            return Excursion("spike_not_recovered", cut - 1, cut, look.width, stays, 0.0)
        return Excursion("rise", cut - 1, cut, look.width, size - float(look.drift[i]), 0.0)
    if i < STEEP:
        return None
    drop = Excursion("drop", cut - 1, cut, look.width, size - float(look.drift[i]), 0.0)
    return drop if _sharp(x, y, look, i) else None


def _begins(look: _Look, i: int) -> int | None:
    """Where the spike begins that ends with the fall after bin i: shortly before, the curve was as low as after it."""
    first = max(i - LONG, 0)
    before = look.middle[first : max(i - 1, 0)]
    low = np.flatnonzero(before < float(look.middle[i + 3]) + STAYS * abs(float(look.jump[i])))
    return first + int(low[-1]) + 1 if low.size else None


def _slope(look: _Look, i: int, after: NDArray[np.intp]) -> float:
    """Fall per bin that the curve would have had without the jump: the slower of those before and well after it."""
    first, middle, last = max(i - 12, 0), int(after[after.size // 2]), int(after[-1])
    before = float(look.middle[i - 2] - look.middle[first]) / max(i - 2 - first, 1)
    later = float(look.middle[last] - look.middle[middle]) / max(last - middle, 1)
    return min(max(before, later), 0.0)


def _cut(y: Array, look: _Look, i: int, sign: float) -> int:
    """First point after the jump: where means of as many points as five bins hold, before and after, differ most."""
    first, last = look.points(i, i + 1)
    reach = 5 * look.width
    first, last = max(first - 2 * look.width, reach), min(last + 2 * look.width, y.size - reach)
    cut = np.arange(first, last + 1)
    run = np.concatenate([[0.0], np.cumsum(y[first - reach : last + reach])])
    at = cut - (first - reach)
    return int(cut[int(np.argmax(sign * (run[at + reach] - 2 * run[at] + run[at - reach])))])


def _settled(x: Array, y: Array, e: Excursion) -> Excursion:
    """The spike, or where lines before and well after it do not meet, what has stayed of it."""
    e = replace(e, last=_end(y, e))
    e = replace(e, size=_height(y, e))
    length = e.last - e.first + 1
    far = max(20, 2 * length)
    before = slice(max(0, e.first - far), e.first)
    after = slice(e.last + 1 + 2 * length, e.last + 1 + 2 * length + far)
    at = float(x[e.last])
    old, new = line.fit(x[before], y[before], at), line.fit(x[after], y[after], at)
    if old is None or new is None or new.num < 8 or old.num < 8:
        return e
    stays = new.value - old.value
    if new.slope < 0:  # still on its way back: what is left at the end counts
        stays = min(stays, new.value + new.slope * float(x[after][-1] - at) - old.value)
    error = math.hypot(old.value_error, new.value_error, old.bend_in_value, new.bend_in_value)
    lasting = stays > max(OFFSET * error, LITTLE * e.size)
    return replace(e, kind="spike_not_recovered", size=stays) if lasting else e


def _height(y: Array, e: Excursion) -> float:
    """How high it reaches above what was before: of a bin of many points, the mean alone would hide it."""
    if e.width == 1 or e.first < 2:
        return e.size
    before = float(np.median(y[max(0, e.first - 10) : e.first]))
    return max(e.size, float(running_median(y[e.first : e.last + 1]).max()) - before)


def _end(y: Array, e: Excursion) -> int:
    """The last point before the running median comes back to within STAYS of the spike's size."""
    before = float(np.median(y[max(0, e.first - 10) : max(e.first, 1)]))
    after = running_median(y[e.last + 1 : e.last + 1 + max(20, int(BACK_WITHIN * y.size))])
    back = np.flatnonzero(after < before + STAYS * e.size)
    return e.last + int(back[0]) if back.size else e.last


def _sharp(x: Array, y: Array, look: _Look, i: int) -> bool:
    """Whether the fall from bin i to bin i + 1 passes between two neighbours, which lie as close as others do."""
    first, last = look.points(i, i + 1)
    first, last = max(first - 2 * look.width, 0), min(last + 2 * look.width, y.size - 1)
    half = max(1, look.width // 2)
    cut = np.arange(max(first + 1, half), min(last + 1, y.size - half + 1))
    run = np.concatenate([[0.0], np.cumsum(y[first - half : last + half + 1])])
    at = cut - (first - half)
    falls = (2 * run[at] - run[at - half] - run[at + half]) / half
    best = int(cut[int(np.argmax(falls))])
    pairs = look.bins[i - 3 : i + 5]
    two = 0.5 * (pairs[1:] + pairs[:-1])
    pair = float((two[:-2] - two[2:]).max())  # between means of two bins, wherever near i it falls most
    before, after = np.diff(x[max(0, best - 10) : best]), np.diff(x[best : best + 10])
    near = x[best] - x[best - 1] <= 3 * min(float(np.median(before)), float(np.median(after)))
    least = SHARP * abs(float(look.jump[i]))
    return near and pair >= least and float(falls.max()) >= least


def _judged(e: Excursion, z: float, places: float, freedom: float) -> Excursion:
    chance = places * student_tail(min(abs(float(z)), 1e9), freedom)
    return replace(e, significance=quantile_of_tail(min(max(chance, 1e-300), 0.5)))


def _without_overlaps(found: list[Excursion]) -> list[Excursion]:
    """Of departures that touch, the most significant; of equals the shortest."""
    kept: list[Excursion] = []
    for e in sorted(found, key=lambda e: (-e.significance, e.last - e.first)):
        if all(_apart(e, k) for k in kept):
            kept.append(e)
    return kept


def _apart(e: Excursion, k: Excursion) -> bool:
    margin = NEAR * max(e.width, k.width)
    return e.last < k.first - margin or e.first > k.last + margin
