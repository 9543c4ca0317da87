"""What the causes ask of a run, each thing measured once: the glue between a `Run` and the arrays of curve and laws.

Every function takes a Run and answers None when the run does not offer enough. Answers are cached by run.
"""

from talweg.evidence.ahead import Ahead, Forecast, forecast, why_no_forecast
from talweg.evidence.batch import OffBatch, adam_like, batch_told, in_windows, late_level, off_batch
from talweg.evidence.events import RunEvent, departures, events
from talweg.evidence.fitted import RunFit, fit, scatter
from talweg.evidence.levels import (
    FEW,
    EvalNoise,
    Gap,
    Judged,
    above_logged,
    batch_noise,
    eval_noise,
    gap,
    judged,
    tail_trend,
    train_level,
    trend,
    val_level,
)
from talweg.evidence.logged import Artefact, artefact, gap_as_logged, in_nats
from talweg.evidence.lost import more_tokens, never_trained, rest_of_plan, risen_before, until
from talweg.evidence.norm import (
    Expected,
    at_frequencies,
    expected,
    expected_at_end,
    far_above,
    far_below,
    first_loss,
    other_unit,
    why_not,
)
from talweg.evidence.pace import Next, NoiseSplit, Smallest, next_hundredth, noise_split, smallest
from talweg.evidence.plan import begins_late, horizon, peak_rate, rate_at, rate_share, still_warming
from talweg.evidence.restarts import Restart, restart
from talweg.evidence.resumes import RateSeam, Resume, rate_seam, resumes
from talweg.evidence.schedules import (
    best_peak,
    cost_of_schedule,
    decay_is_over,
    end_is_known,
    final_share,
    lowest_best_peak,
    rises_late,
)
from talweg.evidence.single_rank import cost_of_single_rank
from talweg.evidence.spikes import Spike, above_the_law_before, spikes
from talweg.evidence.standing import Standing, standing, stopped
from talweg.evidence.stretch import Stretch, stretched
from talweg.evidence.unseen import Unseen, unseen
from talweg.evidence.updates import by_step, length

__all__ = [
    "FEW",
    "Ahead",
    "Artefact",
    "EvalNoise",
    "Expected",
    "Forecast",
    "Gap",
    "Judged",
    "Next",
    "NoiseSplit",
    "OffBatch",
    "RateSeam",
    "Restart",
    "Resume",
    "RunEvent",
    "RunFit",
    "Smallest",
    "Spike",
    "Standing",
    "Stretch",
    "Unseen",
    "above_logged",
    "above_the_law_before",
    "adam_like",
    "artefact",
    "at_frequencies",
    "batch_noise",
    "batch_told",
    "begins_late",
    "best_peak",
    "by_step",
    "cost_of_schedule",
    "cost_of_single_rank",
    "decay_is_over",
    "departures",
    "end_is_known",
    "eval_noise",
    "events",
    "expected",
    "expected_at_end",
    "far_above",
    "far_below",
    "final_share",
    "first_loss",
    "fit",
    "forecast",
    "gap",
    "gap_as_logged",
    "horizon",
    "in_nats",
    "in_windows",
    "judged",
    "late_level",
    "length",
    "lowest_best_peak",
    "more_tokens",
    "never_trained",
    "next_hundredth",
    "noise_split",
    "off_batch",
    "other_unit",
    "peak_rate",
    "rate_at",
    "rate_seam",
    "rate_share",
    "rest_of_plan",
    "restart",
    "resumes",
    "risen_before",
    "rises_late",
    "scatter",
    "smallest",
    "spikes",
    "standing",
    "still_warming",
    "stopped",
    "stretched",
    "tail_trend",
    "train_level",
    "trend",
    "unseen",
    "until",
    "val_level",
    "why_no_forecast",
    "why_not",
]
