"""The training loop: a generator of records that reads from top to bottom.

    for record in train(config): ...

A loss at `step` was measured with that many updates done. Logging, evaluation, checkpoints and stopping have their
own files.
"""

import math
import time
from collections.abc import Iterator

import torch

from talweg import __version__
from talweg.errors import InputError
from talweg.selfcheck import Judgement, SelfCheck
from talweg.train import checkpoint as checkpoints
from talweg.train import clock, details, divergence, hardware, optimizers
from talweg.train.average import swapped_in
from talweg.train.config import Config, with_values
from talweg.train.evaluate import bits_per_byte, evaluate, mean_loss, token_losses
from talweg.train.log import Log, Record
from talweg.train.mfu import utilisation
from talweg.train.micro_batch import out_of_memory, with_back_off
from talweg.train.parallel import in_parts, let_go, own_part
from talweg.train.ranks import OfThisRankError, group, weight_spread
from talweg.train.resume import snapshot
from talweg.train.retention import Retention
from talweg.train.sinks import TRACKERS, Sinks
from talweg.train.start import Plan, begin, facts
from talweg.train.stopping import Signals, not_finite
from talweg.train.update import Gradients, Training, Update, accumulate, apply

LOST = 1.0  # nats above ln V, the loss of equal guesses. Our choice: fresh weights of every kind here lie within 0.1


def train(config: Config) -> Iterator[Record]:
    """Train, or go on from the run folder's newest checkpoint; yields each record as it is logged.

    Ctrl-C, SIGTERM and leaving the loop early write a checkpoint first. Raises InputError for what the person can mend.
    """
    with group():
        plan, training, notes = begin(config)
        try:
            yield from _run(plan, training, notes)
        finally:
            let_go(training.objective)
            del plan, training


def _run(plan: Plan, training: Training, notes: tuple[str, ...]) -> Iterator[Record]:
    if _over(plan, training):
        done = f"{plan.folder} is complete at step {training.step}; to train anew give another run.name"
        yield {"step": training.step, "note": done}
        return
    path = plan.folder / "log.jsonl" if training.ranks.first else None
    with Log(path, training.log_bytes, _sinks(plan, training)) as log, Signals() as signals:
        try:
            stated = facts(plan, training.model, training.ranks.world)
            stated |= clock.places(stated, training.clock, training.step, _seconds(training))
            peak = {"peak_flops": plan.peak.flops, "peak_source": plan.peak.source}
            yield log.write({"talweg": __version__, "step": training.step, "facts": stated, **peak})
            for note in notes:
                yield log.write({"step": training.step, "note": note})
            yield from _records(plan, training, log, signals)
        except GeneratorExit:  # the caller has seen enough; of several ranks it may be this one alone
            if training.ranks.world == 1 and _finite(training):
                _save(plan, training, log)
            raise


def _sinks(plan: Plan, training: Training) -> Sinks | None:
    names = tuple(name for name in TRACKERS if getattr(plan.config.log, name))
    if not names or not training.ranks.first:
        return None
    return Sinks(names, plan.folder, plan.config.run.name, plan.config.log.project, training.step)


def _records(plan: Plan, training: Training, log: Log, signals: Signals) -> Iterator[Record]:
    """Evaluate, judge, save, update; until the plan is done, a signal comes, or the run is not worth going on with."""
    check = SelfCheck.of(plan.folder / "log.jsonl")
    while True:
        last, verdict, began = _over(plan, training), "", time.perf_counter()
        caught = signals.seen_by_any(training.ranks)
        if _due(training.step, plan.config.evaluation.every, last) and training.evaluated < training.step:
            yield log.write(_evaluation(plan, training))
            judgement = _judged(plan, training, check)
            yield from map(log.write, judgement.records)
            yield from (log.write({"step": training.step, "note": told}) for told in log.news())
            if plan.config.run.on_divergence != "continue" and training.step >= plan.schedule.warmup_steps:
                verdict = judgement.fatal  # within the warm-up a loss may rise and come back
        if caught or (_save_is_due(plan, training, last) and (last or not verdict)):
            _save(plan, training, log)
        training.clock.reserve(time.perf_counter() - began)
        if last:
            return
        if caught:
            note = f"stopped by {caught} at step {training.step}, and saved"
            yield {"step": training.step, "note": note, "signal": caught}
            return
        trouble = verdict
        if not verdict:
            record, trouble = _update(plan, training)
            yield log.write(record)
        if trouble:
            answer = divergence.meet(plan, training, trouble, lost=bool(verdict))
            yield log.write({"step": training.step, "note": answer.note, "stopped": not answer.goes_on})
            if not answer.goes_on:
                return


def _judged(plan: Plan, training: Training, check: SelfCheck) -> Judgement:
    """The first rank judges, and all act on it."""
    if not plan.config.evaluation.diagnose:
        return Judgement()
    return training.ranks.agreed(check.judge(training.step) if training.ranks.first else Judgement())


def _due(step: int, every: int | None, last: bool) -> bool:
    return last or step % (every or 1) == 0


def _save_is_due(plan: Plan, training: Training, last: bool) -> bool:
    """At the steps that the configuration names; where it names none, at evaluations as long as that costs little.

    Weights that are far worse than guessing are nothing to go back to, unless the person wants to go on regardless.
    """
    if not _due(training.step, plan.config.checkpoint.every, last):
        return False
    worst = math.log(plan.config.model.vocabulary_size or 1) + LOST
    if plan.config.run.on_divergence != "continue" and training.step and not last and training.val_loss > worst:
        return False
    if last or "checkpoint.every" not in plan.resolved.reasons:
        return True
    return training.ranks.agreed(training.pace.affords_another())


def _seconds(training: Training) -> float:
    """Trained so far, by the first rank's clock; nobody asks where the length is in steps."""
    return training.ranks.agreed(training.clock.seconds()) if training.clock.planned is not None else 0.0


def _over(plan: Plan, training: Training) -> bool:
    return clock.is_over(training.clock, training.step, plan.resolved.steps, _seconds(training))


def _update(plan: Plan, training: Training) -> tuple[Record, str]:
    """One step, and which of its numbers was not finite."""
    begin, step, tokens = time.perf_counter(), training.step, training.tokens
    planned = clock.rate_at(plan.schedule, training.clock, step, plan.resolved.steps, _seconds(training))
    rate = training.rate_factor * planned
    while True:
        gradients, note = _gradients(plan, training)
        update = apply(training, plan.config, rate, gradients)
        if update.taken or not math.isfinite(gradients.loss) or training.loss_scale is None:
            break
        if not training.loss_scale.overflowed():
            break
    record = {
        "step": step,
        "loss": gradients.loss,
        "lr": rate,
        "lr_by_group": optimizers.learning_rates(training.optimizer, rate),
        "grad_norm": update.grad_norm,
        "tokens": tokens,
        "seconds_per_step": (seconds := time.perf_counter() - begin),
        "tokens_per_second": plan.config.tokens_per_step / seconds,
        **_details(plan, training, gradients, update, seconds),
        **note,
    }
    return record, "" if update.taken else not_finite(record)


def _gradients(plan: Plan, training: Training) -> tuple[Gradients, Record]:
    """Those of the next batch, and a note where its micro-batches had to be halved to fit into memory.

    With several ranks nothing is halved: the others would wait for the one that has to begin anew.
    """
    config = plan.config
    if training.micro_batch is not None:
        config = with_values(config, {"batch.micro_batch": training.micro_batch})
    if training.ranks.world > 1:
        try:
            return accumulate(training, config, plan.windows), {}
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        size = config.batch.micro_batch or plan.config.sequences_per_step
        raise OfThisRankError(
            f"rank {training.ranks.rank}: out of memory with batch.micro_batch = {size}; "
            f"give batch.micro_batch = {max(size // 2, 1)}: the run goes on from its newest checkpoint"
        )

    def clear() -> None:
        training.optimizer.zero_grad(set_to_none=True)
        hardware.give_back(config.hardware.device)

    gradients, fitted = with_back_off(lambda tried: accumulate(training, tried, plan.windows), clear, config)
    if fitted is config:
        return gradients, {}
    training.micro_batch = fitted.batch.micro_batch
    return gradients, {
        "note": f"out of memory: batch.micro_batch is {training.micro_batch} from here on; nothing is lost"
    }


def _details(plan: Plan, training: Training, gradients: Gradients, update: Update, seconds: float) -> Record:
    """What a record holds beside the basic figures; absent where it says nothing."""
    of_one = plan.config.tokens_per_step / seconds / training.ranks.world  # tokens/s of one device
    record: Record = {
        "mfu": utilisation(plan.config, of_one, plan.peak),
        "max_logit": gradients.max_logit,
        "clip_scale": update.clip_scale,
        "loader_seconds": gradients.loader_seconds,
        "memory_bytes": hardware.peak_memory(training.ranks.device),
    }
    if update.taken:
        record["update_ratio"] = dict(update.update_ratio)
    if gradients.micro_batch_grad_norms:
        record["micro_batch_grad_norms"] = list(gradients.micro_batch_grad_norms)
    if training.ranks.world > 1:
        record["rank_losses"] = list(gradients.rank_losses)
    if training.loss_scale is not None:
        record |= {"loss_scale": training.loss_scale.value, "skipped_steps": training.loss_scale.skipped}
    return record


def _evaluation(plan: Plan, training: Training) -> Record:
    hard = plan.config.hardware
    device = hard.device
    precision = lambda: hardware.autocast(device, hard.precision)  # noqa: E731
    with swapped_in(training.model, optimizers.evaluation_weights(training.model, training.optimizer)):
        losses = token_losses(training.model, plan.val, training.ranks, precision)
        train = evaluate(training.model, plan.train, training.ranks, precision)
    val, counted = mean_loss(losses, plan.val), plan.val.targets >= 0
    training.evaluated, training.val_loss = training.step, val.value
    record: Record = {
        "step": training.step,
        "val_loss": val.value,
        "val_standard_error": val.standard_error,
        "val_bits_per_byte": bits_per_byte(val.value, plan.manifest.val.tokens, plan.manifest.val.bytes),
        "train_eval_loss": train.value,
        "val_loss_by_position": [bin.nats for bin in details.by_position(losses, counted)],
    }
    if training.average is not None and training.average.updates:
        with swapped_in(training.model, training.average.weights):
            record["val_loss_average"] = evaluate(training.model, plan.val, training.ranks, precision).value
    if training.clock.planned is not None and training.step:
        stated = facts(plan, training.model)
        record["plan"] = clock.places(stated, training.clock, training.step, _seconds(training))
    documents = details.by_document(losses, plan.val.document, counted)
    path = plan.folder / "evaluations" / f"step_{training.step:08}.npz"
    training.ranks.together(lambda: details.save(path, documents) if training.ranks.first else None)
    if val.clean:
        record["val_loss_clean"] = val.clean.value
        record["val_clean_standard_error"] = val.clean.standard_error
        record["val_clean_share"] = plan.val.clean_share
    if training.ranks.world > 1 and not in_parts(training.model):
        record["rank_weight_spread"] = weight_spread(training.model.parameters(), training.ranks)
    return record


def _save(plan: Plan, training: Training, log: Log) -> None:
    if training.saved == training.step:
        return
    if not _finite(training):
        raise InputError(
            f"the weights are not finite at step {training.step}; {checkpoints.describe_newest(plan.folder)}"
        )
    began, keep = time.monotonic(), plan.config.checkpoint
    best = keep.keep_best or plan.config.run.on_divergence == "rollback"  # which may need one from before the trouble
    retention = Retention(keep.keep_last, keep.keep_every, best)
    checkpoints.save(plan.folder, snapshot(plan, training, log.size()), retention, training.ranks)
    training.saved = training.step
    training.pace = checkpoints.Pace(time.monotonic() - began)


def _finite(training: Training) -> bool:
    """Whether all weights are, on every rank."""
    finite = all(bool(torch.isfinite(own_part(p)).all()) for p in training.model.parameters())
    return all(training.ranks.told(finite))
