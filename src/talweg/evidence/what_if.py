"""A plan with changes, by the keys of the configuration: what the rest of a run would then follow.

A curve tells what another path of the rate and another length would give, and the measured cost of a wrong rate what
another peak would. It tells nothing of another batch, model or text: those keys are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from talweg.errors import InputError
from talweg.evidence.plan import horizon, peak_rate, rate_at
from talweg.run import Run
from talweg.schedule import DECAY_SHAPES, KINDS, Schedule

KEYS = (
    *("run.steps", "schedule.kind", "schedule.min_lr", "schedule.decay_share", "schedule.decay_shape"),
    *("schedule.end_share", "optimizer.peak_lr"),
)
SHARES = ("schedule.decay_share", "schedule.end_share")
DECAY_SHARE = 0.2  # of a wsd schedule that does not say it; the trainer's own default
JUMP = 0.02  # of the rate: a change by more than this is told


@dataclass(frozen=True)
class Plan:
    """schedule: over the whole plan, of which the part that is still to come is followed."""

    name: str  # e.g. "schedule.min_lr = 0, run.steps = 40,000"
    schedule: Schedule
    steps: int
    peak_ratio: float = 1.0  # the new peak rate over the run's; the schedule keeps the run's own
    notes: tuple[str, ...] = ()


def changed(run: Run, changes: Mapping[str, str | float]) -> Plan:
    """The run's plan with these values in place of its own.

    Raises InputError for a key that a curve says nothing of, for a value that is none, and where the run's own plan is
    not known well enough to change it.
    """
    for key in changes:
        if key not in KEYS:
            raise InputError(
                f"--what-if {key}: a curve does not tell what that would change; it tells of {', '.join(KEYS)}. "
                "Measure it with a trial"
            )
    base = run.planned_schedule or _logged(run)
    last = run.last_step or 0.0
    steps = _steps(changes.get("run.steps"), run, base, last)
    schedule = _schedule(base, changes, run, steps)
    peak = _number("optimizer.peak_lr", changes["optimizer.peak_lr"]) if "optimizer.peak_lr" in changes else None
    if peak is not None and not peak > 0:
        raise InputError(f"--what-if optimizer.peak_lr={peak:g}: a rate above 0 is needed")
    ratio = 1.0 if peak is None else peak / base.peak_lr
    name = ", ".join(f"{key} = {_told(value)}" for key, value in changes.items())
    return Plan(name, schedule, steps, ratio, _jump(run, schedule, last))


def _logged(run: Run) -> Schedule:
    """A constant rate as it was logged, where no schedule is stated."""
    peak = peak_rate(run)
    end = horizon(run) or run.last_step
    if not peak or not end:
        raise InputError("the learning rate is not known; give the configuration with --config, or a log that holds it")
    return Schedule("constant", peak, peak, 0, int(end))


def _steps(value: str | float | None, run: Run, base: Schedule, last: float) -> int:
    if value is None:
        return int(horizon(run) or max(base.end_step, last))
    steps = _number("run.steps", value)
    if not steps > last or steps != int(steps):
        raise InputError(f"--what-if run.steps={value}: the run is at step {last:,.0f}; a later whole step is needed")
    return int(steps)


def _schedule(base: Schedule, changes: Mapping[str, str | float], run: Run, steps: int) -> Schedule:
    kind = str(changes.get("schedule.kind", base.kind))
    shape = str(changes.get("schedule.decay_shape", base.decay_shape))
    if kind not in KINDS:
        raise InputError(f"--what-if schedule.kind={kind}: one of {', '.join(KINDS)} is needed")
    if shape not in DECAY_SHAPES:
        raise InputError(f"--what-if schedule.decay_shape={shape}: one of {', '.join(DECAY_SHAPES)} is needed")
    shares = {key: _number(key, changes[key]) for key in SHARES if key in changes}
    for key, share in shares.items():
        if not 0 < share <= 1:
            raise InputError(f"--what-if {key}={share:g}: a share above 0, at most 1, is needed")
    planned = horizon(run) or steps
    end_share = shares.get("schedule.end_share", base.end_step / planned)
    end = max(1, round(end_share * steps))
    own = 1 - base.decay_start / base.end_step if base.kind == "wsd" and base.decay_start else DECAY_SHARE
    decay = shares.get("schedule.decay_share", own)
    least = base.min_lr if base.kind != "constant" else 0.0
    min_lr = _number("schedule.min_lr", changes.get("schedule.min_lr", least if kind != "constant" else base.peak_lr))
    if not 0 <= min_lr <= base.peak_lr:
        raise InputError(f"--what-if schedule.min_lr={min_lr:g}: between 0 and the peak, {base.peak_lr:g}, is needed")
    return replace(
        base,
        kind=kind,  # type: ignore[arg-type]  # one of KINDS, as was asked above
        min_lr=min_lr,
        end_step=end,
        decay_start=round((1 - decay) * end) if kind == "wsd" else 0,
        decay_shape="sqrt" if shape == "sqrt" else "linear",
    )


def _jump(run: Run, schedule: Schedule, last: float) -> tuple[str, ...]:
    now = rate_at(run, last)
    then = float(schedule.at(last))
    if now is None or abs(then - float(now)) <= JUMP * max(schedule.peak_lr, 1e-300):
        return ()
    return (f"at step {last:,.0f} the rate goes from {float(now):.3g} to {then:.3g} at once",)


def _number(key: str, value: str | float) -> float:
    try:
        return float(str(value).replace(",", "").replace("_", ""))
    except ValueError:
        raise InputError(f"--what-if {key}={value}: a number is needed") from None


def _told(value: str | float) -> str:
    try:
        number = float(value)
    except ValueError:
        return str(value)
    return f"{number:,.0f}" if number.is_integer() and abs(number) >= 1000 else f"{number:g}"
