"""What a cause answers: verdict, cost in nats, evidence, remedies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from talweg.estimate import Estimate

Verdict = Literal["present", "absent", "unknown"]


@dataclass(frozen=True)
class Remedy:
    """A change of the configuration, with what it is predicted to win.

    config: keys of Talweg's own configuration (train/config.py) with their new values.
    gain:   nats of validation loss won back at the end of the planned run, positive is better.
    tokens: training tokens that the change costs beyond the plan; 0 when it needs none, None when it is not known.
    compute_factor: compute per token, as a multiple of this run's; 1.6 for a model 1.6 times as large.
    """

    name: str  # snake_case, e.g. "dropout_off"
    change: str  # e.g. "dropout 0.1 -> 0"
    config: Mapping[str, object]
    gain: Estimate | None = None
    tokens: float | None = None
    compute_factor: float = 1.0


@dataclass(frozen=True)
class Finding:
    """The answer of one cause about one run.

    nats: what the cause costs in validation loss per token at the end of the planned run, never negative; None unless
          the verdict is present (or absent with a measured cost too small to count).
    because: the measured figures, one sentence. For `unknown`: what is missing.
    needs: for `unknown`, the names of the missing columns, facts or inputs ("data", "checkpoint").
    would_narrow_nats: for `unknown`, how large a cost could be hiding there; None when that is not known either.
    steps: the stretch of the log that the evidence speaks of, for plots.
    """

    verdict: Verdict
    because: str
    nats: Estimate | None = None
    remedies: tuple[Remedy, ...] = ()
    needs: tuple[str, ...] = ()
    would_narrow_nats: float | None = None
    steps: tuple[float, float] | None = None


@dataclass(frozen=True)
class ReadingOfRun:
    """A pattern that looks like trouble and is none, with its evidence (e.g. `small_batch_noise`)."""

    name: str
    because: str


@dataclass(frozen=True)
class Myth:
    """A claim often made about runs with this pattern, and what this run's figures say of it."""

    claim: str
    reading: str


def missing(*names: str, because: str = "", would_narrow_nats: float | None = None) -> Finding:
    """`unknown`, naming what is not there."""
    text = because or f"needs {', '.join(names)}"
    return Finding("unknown", text, needs=names, would_narrow_nats=would_narrow_nats)
