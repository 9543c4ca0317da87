"""Things that happen to a curve: spikes, jumps that stay, stretches that are not finite or never change."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WINDOW = 15  # neighbours on either side that a point is compared with
THRESHOLD = 8.0  # robust sd. Our choice; training noise has heavy tails, and single batches reach 6 in healthy logs
STAYS = 0.5  # of the jump: what must be left of it for it to count as lasting
CONSTANT_RUN = 8  # identical values in a row


@dataclass(frozen=True)
class CurveEvent:
    """kind: spike, spike_not_recovered, drop, not_finite, constant_stretch; size in the unit of the curve."""

    kind: str
    first_step: float
    last_step: float
    size: float
    significance: float  # robust standard deviations


def events(step: Array, value: Array) -> tuple[CurveEvent, ...]:
    """Events of one curve in the order of their steps. (T,), (T,); NaN and inf are events themselves."""
    s, v = np.asarray(step, dtype=np.float64), np.asarray(value, dtype=np.float64)
    found = _stretches(s, ~np.isfinite(v), "not_finite")
    good = np.isfinite(v)
    s, v = s[good], v[good]
    if s.size >= 2 * WINDOW + 1:
        found += _constant(s, v) + _outliers(s, v)
    return tuple(sorted(found, key=lambda e: e.first_step))


def _stretches(s: Array, mask: NDArray[np.bool_], kind: str) -> list[CurveEvent]:
    return [CurveEvent(kind, float(s[a]), float(s[b - 1]), math.nan, math.inf) for a, b in _runs(mask)]


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _constant(s: Array, v: Array) -> list[CurveEvent]:
    same = np.append(False, np.diff(v) == 0)
    return [
        CurveEvent("constant_stretch", float(s[a - 1]), float(s[b - 1]), 0.0, math.inf)
        for a, b in _runs(same)
        if b - a + 1 >= CONSTANT_RUN
    ]


def _outliers(s: Array, v: Array) -> list[CurveEvent]:
    before = _median_before(v)
    residual = v - before
    scale = 1.4826 * _median_before(np.abs(residual - np.median(residual)), 4 * WINDOW)
    z = residual / np.maximum(scale, 1e-12 + 1e-9 * np.abs(v))
    z[: 2 * WINDOW] = 0.0  # the steep beginning has no neighbours to be compared with
    found = []
    for a, b in _merge(_runs(np.abs(z) > THRESHOLD)):
        peak = a + int(np.argmax(np.abs(z[a:b])))
        size, after = float(residual[peak]), v[b : b + WINDOW]
        left = float(np.median(after)) - float(before[a]) if after.size >= 5 else math.nan
        stays = not math.isnan(left) and left * size > 0 and abs(left) > STAYS * abs(size)
        if size < 0 and not stays:
            continue
        kind = "drop" if size < 0 else ("spike_not_recovered" if stays else "spike")
        found.append(CurveEvent(kind, float(s[a]), float(s[b - 1]), size, float(abs(z[peak]))))
    return found


def _merge(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches with fewer than WINDOW points between them are one."""
    merged: list[tuple[int, int]] = []
    for a, b in runs:
        if merged and a - merged[-1][1] < WINDOW:
            merged[-1] = (merged[-1][0], b)
        else:
            merged.append((a, b))
    return merged


def _median_before(v: Array, window: int = WINDOW) -> Array:
    """Median of the `window` values before each point; of what there is at the beginning."""
    padded = np.concatenate([np.full(window, v[0]), v[:-1]])
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1))
