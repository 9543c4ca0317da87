"""Learning rate not decayed: the rate still stands high, and the loss that it holds up comes down only with it.

Physics: at a high learning rate the weights shake about the floor of the valley. Bringing the rate to zero gives

    gain = g (D' - D) - A (S1'^-alpha - S1^-alpha)        nats per token

    g:  what a whole decay gives, 0.149 nats (sd 20 %) before the run's own curve is heard
    D:  share of the decay that is done and digested; S1: sum of eta / eta_peak, in steps; ' marks the run with a decay

for a run whose plan stays high: the decay takes the last fifth of the same steps. A plan that decays anyway still has
g (1 - D) to give, most of it by waiting.

Refuted by: a branch from the last checkpoint whose rate goes to 0 over a fifth of the steps done gains nothing.
Schedule-free AdamW evaluates an average of the weights, which stands for the decay, and is left alone.

Known problems: g is a prior as long as no decay is in the log. A schedule that re-warms is read by its last stretch.
References: Tissue et al. 2024, arXiv 2408.11029; Luo et al. 2025, arXiv 2503.12811; Wen et al. 2024, arXiv 2410.05192;
Hägele et al. 2024, arXiv 2405.18392 (a short decay is enough); Defazio et al. 2024, arXiv 2405.15682 (schedule-free).
"""

import math

import numpy as np

from talweg import evidence, simulated
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import annealing
from talweg.run import Run
from talweg.schedule import Schedule

GROUP = "schedule"
NEEDS = ("learning_rate", "val_loss")
MATERIAL = 0.02  # nats. Our choice: no healthy run of 200 simulated is accused (notes/calibration.md)
STANDS_HIGH = 0.15  # of the peak: most recipes end at a tenth, and going lower is another question. Our choice
LARGEST_SHARE = 0.2  # of the loss. Our choice: public decays win 0.09 to 0.17 nats of 2.5 to 3.5
LAW_ERROR = 0.15  # relative sd beyond the fit's own: nine public decays against the law (notes/calibration.md)
DECAY_SHARE = 0.2  # of the steps done: a decay of 10 to 20 % is enough (Hägele et al. 2024)


def examine(run: Run) -> Finding:
    if "schedulefree" in (run.facts.optimizer or "").lower().replace("_", "").replace("-", ""):
        return Finding("absent", f"{run.facts.optimizer}: an average of the weights stands in the place of a decay")
    share, fit = evidence.rate_share(run), evidence.fit(run)
    if share is None:
        return missing("learning_rate", because="neither the log nor a configuration tells the learning rate")
    if fit is None or not fit.schedule_known or run.last_step is None:
        return missing("val_loss", because="needs a loss curve long enough to fit: eight evaluations after the warm-up")
    if evidence.still_warming(run):
        return missing("val_loss", because="the learning rate is still rising: too early to tell")
    if run.facts.optimizer == "schedule_free":
        return Finding("absent", "the weights that are evaluated are an average, which stands for a decay")
    if (frequencies := evidence.at_frequencies(run)) is not None:
        return missing("val_loss", because=f"{frequencies}: something else comes first")
    stretch = evidence.stretched(run)
    if stretch is not None and stretch.unit:
        return Finding("absent", f"{stretch.because}: that is why it stands where it does, and has its own cost")
    if share >= STANDS_HIGH and evidence.decay_is_over(run):
        return Finding("absent", f"the decay is over, at {share:.0%} of the peak: how low it ends is another cause")
    if (planned := _taken_back(run)) is not None:
        told = f"the plan has {planned:.0%} of the peak by now; the rate went back at a resume, which has its own cost"
        return Finding("absent", told)
    gain = _gain(run, fit)
    stands = f"the learning rate stands at {share:.0%} of its peak; taking it to 0 would give {_nats(gain)} nats"
    if gain.value > LARGEST_SHARE * fit.law.on(fit.path, run.last_step)[0][0]:
        return missing("val_loss", because=f"{stands}, of a loss that is hardly more: its law is of another kind")
    if gain.value < MATERIAL or share < STANDS_HIGH:
        return Finding("absent", stands, nats=gain)
    if gain.low <= 0:
        return missing("val_loss", because=f"{stands}: the curve is too short to tell it from nothing")
    remedies = _remedies(run, fit, gain)
    plan = f"; the plan brings it down: {remedies[0].change}" if remedies[0].name == "wait" else ""
    return Finding("present", stands + plan, nats=gain, remedies=remedies, steps=(run.last_step, fit.end))


def _taken_back(run: Run) -> float | None:
    """The planned share of the peak, where it is low and only a schedule that began anew keeps the rate high."""
    plan, back = run.planned_schedule, evidence.restart(run)
    if plan is None or back is None or not (back.stated or back.warms_up_again):
        return None
    share = float(plan.at(run.last_step or 0.0)) / plan.peak_lr
    return share if share < STANDS_HIGH else None


def _gain(run: Run, fit: evidence.RunFit) -> Estimate:
    """What decaying still has to give: by the plan and beyond it, or by a decay within the same steps."""
    if _plan_decays(run):
        gain = fit.gain_of_full_decay_now
        return Estimate.normal(gain.value, math.hypot(gain.sd, LAW_ERROR * gain.value)).at_least(0.0)
    steps = annealing.grid(fit.end)
    rate = evidence.rate_at(run, steps)
    assert rate is not None, "a fit with a known schedule has a rate"
    rate = rate * np.clip((1 - steps / fit.end) / DECAY_SHARE, 0.0, 1.0)
    mean, sd = fit.law.difference(
        fit.path, fit.end, annealing.path(steps, rate, annealing.complete(steps, rate)), fit.end
    )
    return Estimate.normal(mean, math.hypot(sd, LAW_ERROR * mean)).at_least(0.0)


def _plan_decays(run: Run) -> bool:
    """Whether the steps still to come bring the rate down by more than a tenth."""
    last, end = run.last_step or 0.0, evidence.horizon(run) or run.last_step or 0.0
    rates = evidence.rate_at(run, [last, end])
    return end - last >= 1 and rates is not None and float(rates[1]) < 0.9 * float(rates[0])


def _remedies(run: Run, fit: evidence.RunFit, gain: Estimate) -> tuple[Remedy, ...]:
    last, end = run.last_step or 0.0, evidence.horizon(run) or run.last_step or 0.0
    rates = evidence.rate_at(run, [last, end])
    now, then = (1.0, 1.0) if rates is None else (float(rates[0]), float(rates[1]))
    per_step = run.facts.tokens_per_step
    if not _plan_decays(run):
        steps = max(1, round(DECAY_SHARE * last))
        change = f"decay to 0 over {steps:,} more steps"
        total = round(last) + steps
        config = {
            "schedule.kind": "wsd",
            "schedule.decay_share": round(steps / total, 3),
            "schedule.min_lr": 0.0,
            **evidence.length(run, total),
        }
        return (Remedy("decay_now", change, config, gain, None if per_step is None else steps * per_step),)
    falls = fit.gain_of_decay_to_end
    wait = Remedy("wait", f"wait: {end - last:,.0f} steps", {"run.steps": round(end)}, falls, 0.0)
    if then < 0.01 * (evidence.peak_rate(run) or now):
        return (wait,)
    left = gain.shifted(-falls.value).at_least(0.0)
    return wait, Remedy("decay_to_zero", f"final learning rate {then:.3g} -> 0", {"schedule.min_lr": 0.0}, left, 0.0)


def _nats(x: Estimate) -> str:
    return f"{x.value:.3f} ({x.low:.3f} to {x.high:.3f})"


def example(rng: np.random.Generator) -> Run:
    """A run that ends at its peak rate."""
    return simulated.healthy(rng, schedule=Schedule("constant", 6e-4, 6e-4, 250, 10_000))
