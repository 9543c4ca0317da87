"""The time of a run that was given in minutes, and what follows from it: the learning rate, and the end.

Imports no torch. A run of so many steps or tokens has its schedule by steps, and no use for a clock.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from talweg.schedule import Schedule

PLACES = ("planned_steps", "warmup_steps", "decay_start_step", "decay_end_step")  # facts that are steps of the plan


@dataclass(eq=False)
class Clock:
    """Seconds of training over all sessions of the run: steps, evaluations and checkpoints, not the pause between."""

    planned: float | None  # seconds of the whole run; None: its length is in steps
    before: float = 0.0  # seconds of earlier sessions
    reserved: float = 0.0  # seconds that the last evaluation and checkpoint will take, after the last step
    began: float = field(default_factory=lambda: time.monotonic())  # looked up anew: a test sets the time

    def seconds(self) -> float:
        """Trained so far. Ranks have to agree on one of theirs."""
        return self.before + time.monotonic() - self.began

    def reserve(self, seconds: float) -> None:
        """An evaluation and its checkpoint took so long: as much is kept for the last ones, at most half of the run."""
        if self.planned is not None:
            self.reserved = min(max(self.reserved, seconds), self.planned / 2)

    def share(self, seconds: float) -> float:
        """How much of the time for steps is over after so many seconds, 0 to 1."""
        assert self.planned is not None
        return min(seconds / (self.planned - self.reserved), 1.0)


def position(clock: Clock, step: int, planned_steps: int, seconds: float) -> float:
    """Where in the schedule the next update stands, in steps of the plan.

    By time the plan's number of steps is only a guess made at the start: half the time is half the plan, however many
    updates were done. seconds: trained so far.
    """
    return step if clock.planned is None else clock.share(seconds) * planned_steps


def rate_at(schedule: Schedule, clock: Clock, step: int, planned_steps: int, seconds: float) -> float:
    """The learning rate of the next update."""
    return float(schedule.at(position(clock, step, planned_steps, seconds)))


def is_over(clock: Clock, step: int, planned_steps: int, seconds: float) -> bool:
    """Whether the run has had its last update: by time where it was given in minutes, else by steps."""
    return position(clock, step, planned_steps, seconds) >= planned_steps


def places(facts: Mapping[str, object], clock: Clock, step: int, seconds: float) -> dict[str, int]:
    """The steps of the plan, as the pace so far makes them; {} where the length is not in minutes.

    A run whose steps take twice as long as the plan was made with comes to half as many, and its decay ends there.
    """
    if clock.planned is None or step == 0 or seconds <= 0:
        return {}
    known = {name: value for name in PLACES if isinstance(value := facts.get(name), int)}
    total = max(round(step / clock.share(seconds)), step)
    return {name: round(value * total / known["planned_steps"]) for name, value in known.items()}
