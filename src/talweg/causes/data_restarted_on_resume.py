"""Data restarted on resume: the run was taken up, and its text from an earlier place: batches are read twice.

Physics: a batch that comes again is as hard as it was the first time, so the scatter of the loss comes again with it:

    r = correlation of the residuals at s and s - S, from the resume on       S: how far back the text was taken up

which is 0.4 to 0.9 where the batches are the same and 0 where they are others. The loss itself need not drop: text seen
once is hardly memorised. What is lost is the text that was not read in their place. Of D tokens of a plan only D - R
differ, R those that are read again, and the repetition law says what that costs.

Refuted by: the token ids of the first batch after the resume are not among those read before it.
Known problems: a text that is read in one order in every pass repeats itself by design, and is told by the length of a
pass. A pass begun anew in another order is not seen. Averages over many steps that begin at other steps hide it.
References: Muennighoff et al. 2023, arXiv 2305.16264 (the repetition law).
"""

import math
from dataclasses import replace

import numpy as np

from talweg import evidence, simulated
from talweg.curve.replay import Replay, replay
from talweg.estimate import Estimate
from talweg.finding import Finding, Remedy, missing
from talweg.laws import repetition, size, undertrained
from talweg.run import Run

GROUP = "implementation"
NEEDS = ("train_loss", "resumed_at", "tokens_per_step")
# normal sd, after the correction for all shifts. The largest of 516 sound curves, simulated and public, is 3.4
# (notes/causes_resume.md); real replays of 100 batches and more have 6 to 12
SURE = 4.5
ALIKE = 0.3  # correlation. Our choice: real replays have 0.39 to 0.98
SAME_LENGTH = 0.02  # of a pass: two lengths that are one. Our choice
# Nine real replays of small runs ended 0.002 to 0.015 above the sound twin, where the law says 0.001 to 0.007 and the
# order of the text alone gives an sd of 0.0085 (notes/causes_resume.md): so the upper end is never below this.
LEAST_HIGH = 0.015


def examine(run: Run) -> Finding:
    if evidence.judged(run) is None:
        return missing("train_loss", because="needs a loss curve: eight finite values")
    places = evidence.resumes(run)
    if run.facts.resumed_at is not None and not places:
        return Finding("absent", "the run was never taken up again")
    loss = run.train_loss.finite
    if places:
        found = [(p, replay(loss.step, loss.value, p.step)) for p in places]
        known = [(p, r) for p, r in found if r is not None]
        if not known:
            few = "too few losses were logged, or not at even steps, to compare batches"
            return missing("train_loss", because=f"{places[0].because}; {few}")
        again = [r for _, r in known if _is_replay(r) and not _by_design(run, r)]
        if again:
            return _present(run, again)
        best = max((r for _, r in known), key=lambda r: r.significance)
        steps = ", ".join(f"{p.step:,.0f}" for p, _ in known[:3])
        if _is_replay(best):
            return Finding("absent", f"batches come again after {best.shift:,.0f} steps, which is the text's own order")
        return Finding(
            "absent", f"no batch from before step {steps} comes again after it (r = {best.correlation:.2f} at best)"
        )
    anywhere = replay(loss.step, loss.value)
    if anywhere is None:
        return missing("train_loss", "resumed_at", because="needs training losses at even steps, to compare batches")
    if not _is_replay(anywhere):
        return Finding("absent", "no stretch of batches comes again")
    if _by_design(run, anywhere):
        return Finding("absent", f"batches come again after {anywhere.shift:,.0f} steps: the text is read in one order")
    if _pass_steps(run) is None:
        told = f"the batches of step {anywhere.at:,.0f} on are those of {anywhere.shift:,.0f} steps before"
        why = "a pass over the text in one order, or a resume that began it anew"
        return missing("resumed_at", "train_tokens", because=f"{told}: {why}")
    return _present(run, [anywhere])


def _is_replay(found: Replay) -> bool:
    return found.significance > SURE and found.correlation > ALIKE and found.num > 0


def _pass_steps(run: Run) -> float | None:
    """Steps of one pass over the text."""
    tokens, per_step = run.facts.train_tokens or run.facts.unique_tokens, run.facts.tokens_per_step
    return None if not tokens or not per_step else tokens / per_step


def _by_design(run: Run, found: Replay) -> bool:
    """Whether the text returns after so many steps in any case: a whole number of passes, or as it did before."""
    length = _pass_steps(run)
    if length is not None and length < 1.5 * found.shift:
        passes = max(1, round(found.shift / length))
        if abs(found.shift / (passes * length) - 1) < SAME_LENGTH:
            return True
    return found.earlier > SURE


def _present(run: Run, again: list[Replay]) -> Finding:
    first = again[0]
    because = (
        f"the batches from step {first.at:,.0f} on are those of {first.shift:,.0f} steps before "
        f"(r = {first.correlation:.2f} over {first.num:,} pairs)"
    )
    if len(again) > 1:
        because += f", and so at {len(again) - 1} more resumes"
    end = evidence.horizon(run) or run.last_step or 0.0
    if run.facts.tokens_per_step is None:
        return missing("tokens_per_step", because=f"{because}; the cost needs the tokens per step")
    repeated = _repeated(again, end)
    cost = _cost(run, repeated * run.facts.tokens_per_step, end * run.facts.tokens_per_step)
    if cost is None:
        return missing("parameters", because=f"{because}; the cost needs the number of parameters")
    because += f": {repeated:,.0f} of {end:,.0f} steps read text a second time"
    seed = (run.facts.seed or 0) + 1
    change = "take up the text where it was left, or draw it with another seed"
    remedy = Remedy("go_on_in_the_text", change, {"run.seed": seed}, cost, 0.0)
    return Finding("present", because, nats=cost, remedies=(remedy,), steps=(first.at, first.at + first.shift))


def _repeated(again: list[Replay], end: float) -> float:
    """Steps of the plan that read what was read before: the places of the text that are visited, less those new."""
    place, since, visited = 0.0, 0.0, list[tuple[float, float]]()
    for r in sorted(again, key=lambda r: r.at):
        visited.append((place, place + r.at - since))
        place, since = max(place + r.at - since - r.shift, 0.0), r.at
    visited.append((place, place + end - since))
    distinct, reach = 0.0, 0.0
    for first, last in sorted(visited):
        distinct += max(0.0, last - max(first, reach))
        reach = max(reach, last)
    return end - distinct


def _cost(run: Run, repeated: float, tokens: float) -> Estimate | None:
    """Nats: `tokens` of which `repeated` are read again, against as many of the text that there is."""
    f = run.facts
    text = min(f.unique_tokens or math.inf, tokens)
    less = max(min(text, tokens - repeated), 1.0)
    sound, faulty = (repetition.effective_tokens(unique, tokens) for unique in (text, less))
    if f.parameters is not None and not size.in_range(f.parameters, faulty):
        value = size.difference(f.parameters, faulty, f.parameters, sound).at_least(0.0)
    else:
        level = evidence.val_level(run) or evidence.train_level(run)
        if level is None:
            return None
        per_parameter = None if f.parameters is None else faulty / f.parameters
        value = undertrained.fall(level.value, max(sound / faulty, 1.0), per_parameter, f.bytes_per_token)
    high = max(2 * value.value, value.high, LEAST_HIGH)
    return Estimate(value.value, 0.0, high)


def example(rng: np.random.Generator) -> Run:
    """At two fifths of the run the text begins anew: the scatter of its batches is that of the first steps."""
    run = simulated.healthy(rng, log_every=10, batch_sd=0.01, resumed_at=(4000.0,))
    step = run.train_loss.step.astype(np.int64)
    hard = 0.05 * rng.standard_normal(step.size)  # of the batch at each place of the text
    place = np.where(step < 4000, step, step - 4000) // 10
    return replace(run, train_loss=replace(run.train_loss, value=run.train_loss.value + hard[place]))
