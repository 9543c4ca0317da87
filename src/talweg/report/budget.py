"""The loss budget as a waterfall: from the loss now, down by each cost, to what would be left."""

import math
from dataclasses import dataclass

from talweg.diagnosis import Diagnosis
from talweg.estimate import Estimate
from talweg.report.figures import nats, plain, with_interval

NOTE = "Each cost is estimated alone; where two causes share a cost, removing both wins less than their sum."


@dataclass(frozen=True)
class Bar:
    """One bar from `top` down to `bottom`; low and high are where its 80 % interval puts the lower end."""

    label: str
    top: float
    bottom: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Budget:
    """now: the judged loss. rest: what is left when every known cost is won back; its interval adds the errors of the
    parts in quadrature, as for errors that are independent of each other."""

    judged: str  # "val" or "train"
    now: Estimate
    bars: tuple[Bar, ...]
    rest: Estimate
    rest_text: str
    note: str = NOTE


def budget(diagnosis: Diagnosis) -> Budget | None:
    """None when no level or no cost is known."""
    now = diagnosis.now
    level = (now.val or now.train) if now else None
    costs = [(c.name, c.finding.nats) for c in diagnosis.by_verdict("present")]
    known = [(plain(name), cost) for name, cost in costs if cost is not None and cost.finite]
    if now is None or level is None or not level.finite or not known:
        return None
    bars, top = [], level.value
    for name, cost in known:
        bottom = top - cost.value
        text = f"-{nats(cost.value)} (80 %: {nats(cost.low)}–{nats(cost.high)})"
        bars.append(Bar(name, top, bottom, top - cost.high, top - cost.low, text))
        top = bottom
    below = math.hypot(level.value - level.low, *(cost.high - cost.value for _, cost in known))
    above = math.hypot(level.high - level.value, *(cost.value - cost.low for _, cost in known))
    rest = Estimate(top, top - below, top + above)
    return Budget("val" if now.val else "train", level, tuple(bars), rest, with_interval(rest))
