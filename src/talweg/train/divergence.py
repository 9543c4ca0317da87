"""What a run does about numbers that are not finite, and about a verdict with which going on is a waste.

stop      leave the weights at the last good checkpoint, and say so
rollback  go back to it, leave out the text read since, halve the learning rate (Chowdhery et al. 2022 left out the
          text after each loss spike of PaLM; the halved rate is our choice, for runs that have no text to blame).
          Where the loss has been rising, or going back to the newest one did not help, that is the one of the lowest
          validation loss: those after it may be lost already
continue  leave out the batch; a verdict is only told
"""

from dataclasses import dataclass

from talweg.errors import InputError
from talweg.train import checkpoint as checkpoints
from talweg.train.loss_scale import LossScale
from talweg.train.resume import restore
from talweg.train.start import Plan
from talweg.train.update import Training

MOST_ROLLBACKS = 3  # our choice: what comes back a fourth time is no accident
MOST_SKIPPED = 100  # batches in a row without a finite gradient. Our choice: weights that are lost give no other
RATE = 0.5  # the learning rate after a rollback, against that before


@dataclass(frozen=True)
class Answer:
    """note: for the log and the person."""

    note: str
    goes_on: bool


def meet(plan: Plan, training: Training, trouble: str, *, lost: bool) -> Answer:
    """Act on the trouble as the configuration says; `training` is then as it shall go on.

    lost: the diagnosis found the run lost, at an evaluation; else a number of the update at hand was not finite.
    """
    policy = plan.config.run.on_divergence
    where = checkpoints.describe_newest(plan.folder)
    if policy == "continue":
        training.skipped_in_a_row += 1
        if training.skipped_in_a_row > MOST_SKIPPED:
            return Answer(f"stopped: {MOST_SKIPPED} batches in a row gave no finite gradient; {where}", False)
        training.cursor += plan.config.sequences_per_step
        if training.loss_scale is not None:  # it was halved for a batch that no scale saves; the next ones need it
            training.loss_scale = LossScale(skipped=training.loss_scale.skipped)
        return Answer(f"{trouble}: the batch is left out", True)
    if policy == "rollback":
        return _rolled_back(plan, training, trouble, lost)
    advice = "lower optimizer.peak_lr, raise schedule.warmup_steps, or give run.on_divergence = rollback"
    return Answer(f"stopped: {trouble}; {where}; {advice}", False)


def _rolled_back(plan: Plan, training: Training, trouble: str, lost: bool) -> Answer:
    count, factor, cursor, step = training.rollbacks + 1, training.rate_factor, training.cursor, training.step
    if count > MOST_ROLLBACKS:
        return Answer(f"stopped: {trouble}, after {MOST_ROLLBACKS} rollbacks; lower optimizer.peak_lr", False)
    ranks = training.ranks
    try:
        saved = ranks.together(lambda: _to_go_back_to(plan, training, lost) if ranks.first else None)
    except InputError as error:
        return Answer(f"stopped: {trouble}; {error}", False)
    state = ranks.agreed(saved.state if saved else None)
    if state is None:
        return Answer(f"stopped: {trouble}, and there is no checkpoint to go back to", False)
    restore(plan, training, saved or checkpoints.Checkpoint({}, {}, state))
    ranks.together(lambda: checkpoints.leave_behind(plan.folder, training.step) if ranks.first else None)
    read = 0 if lost else plan.config.sequences_per_step  # beyond the cursor: the batch that gave no number
    skipped = cursor + read - training.cursor
    training.cursor += skipped
    training.rollbacks, training.rate_factor = count, factor * RATE
    note = (
        f"{trouble}: back from step {step} to step {training.step}; the {skipped * plan.config.model.context:,} tokens "
        f"read since are left out, and the learning rate is {training.rate_factor:g} of its plan from here"
    )
    return Answer(note, True)


def _to_go_back_to(plan: Plan, training: Training, lost: bool) -> checkpoints.Checkpoint | None:
    """The newest checkpoint that is whole, or the best one where the newest may be a part of the trouble."""
    newest = checkpoints.newest(plan.folder, lambda _: None)
    if newest is None:
        return None
    tried_before = training.rollbacks > newest.state.get("rollbacks", 0)  # nothing was saved since the last one
    best = checkpoints.best(plan.folder) if tried_before or lost else None
    return best if best is not None and best.state["step"] < newest.state["step"] else newest
