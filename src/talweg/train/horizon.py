"""How long the run is and how large its batch: each follows from the other and from the tokens. Imports no torch."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from talweg.corpus.manifest import Manifest
from talweg.errors import InputError
from talweg.estimate import Estimate
from talweg.laws import batch as batches
from talweg.laws import learning_rate
from talweg.train.config import Config, with_values
from talweg.train.model_size import model_size

NUM_EVALUATIONS = 30  # our choice: enough points for a trend
EVALUATION_SHARE = 0.015  # our choice: of the run's arithmetic that evaluations may take, before they get fewer
MIN_EVALUATIONS = 12
LEAST_EVALUATED = 16_384  # our choice: tokens below which the standard error hides what a tenth of a run wins
MIN_STEPS = 100  # our choice: a batch from the law is lowered where it would leave a run fewer
# Muon's momentum: best at 0.85 in 292 steps, 0.9 better than 0.95 in 878 (notes/time_to_loss.md). The ends are those
# between which Jordan et al. (2024) warm it up.
MOMENTUM_MEMORY, SHORTEST_MEMORY, LONGEST_MEMORY = 0.38, 1 / 0.15, 20.0  # steps remembered: 0.38 sqrt(steps), within
MUON_EMBEDDING = 2.0  # measured there too
TRIAL_TOKENS = 8192  # of the batch that a pace is measured with where the batch is open


def tokens_per_step(
    config: Config, manifest: Manifest, measure: Callable[[Config], float] | None, ranks: int = 1
) -> tuple[int, str]:
    """The batch in tokens, a multiple of the context, and why.

    measure: seconds of an update of a configuration; asked where the length is given in minutes.
    ranks: each needs a sequence of its own.
    """
    run, context = config.run, config.model.context
    if run.steps is not None:
        law, tokens, told = batches.optimum_of_steps(run.steps), None, f"{run.steps:,} steps"
    else:
        tokens = _tokens(config, manifest, measure)
        law, told = batches.optimum(tokens), f"{tokens:,.0f} tokens"
    best = law.value if tokens is None else min(law.value, tokens / MIN_STEPS)
    sequences = max(round(best / context), ranks, 1)
    reason = f"the law 0.58 D^0.571 says {law.value:,.0f} for a run of {told}, {_known(law)}"
    if best < law.value:
        reason += f"; less here, to leave {MIN_STEPS} steps"
    if sequences > round(best / context):
        reason += "; one sequence is the least" if ranks == 1 else f"; {ranks} ranks need a sequence each"
    return sequences * context, reason


def _tokens(config: Config, manifest: Manifest, measure: Callable[[Config], float] | None) -> float:
    run, context = config.run, config.model.context
    if run.tokens is not None:
        return run.tokens
    if run.epochs is not None:
        return run.epochs * manifest.train.tokens
    assert run.minutes is not None
    assert measure is not None
    trial = max(TRIAL_TOKENS // context, 1) * context
    return run.minutes * 60 / measure(with_values(config, {"batch.tokens_per_step": trial})) * trial


def peak_rate(config: Config) -> tuple[float, str]:
    """The peak learning rate for the parameters and tokens of a run whose length is known, and why."""
    assert config.run.steps is not None
    n, d = model_size(config), config.run.steps * config.tokens_per_step
    law, told = learning_rate.optimum(n, d), "the mean"
    if config.optimizer.name == "muon":
        law = learning_rate.optimum_of_muon(n, d)
        told = f"{learning_rate.MUON_OVER_ADAMW:g} times the mean, at most {learning_rate.MUON_HIGHEST:g},"
    value = float(f"{law.value:.2g}")
    return value, f"{told} of two laws for {n:,} parameters and {d:,} tokens, {_known(law)}"


def muon_momentum(steps: int) -> tuple[float, str]:
    """Muon's momentum, which remembers 1 / (1 - momentum) steps, and why."""
    memory = min(max(MOMENTUM_MEMORY * math.sqrt(steps), SHORTEST_MEMORY), LONGEST_MEMORY)
    return round(1 - 1 / memory, 3), f"it remembers {memory:.1f} of {steps:,} steps"


def embedding_lr_factor(config: Config) -> tuple[float, str]:
    """The embedding's learning rate over that of the matrices, and why."""
    if config.optimizer.name == "muon":
        return MUON_EMBEDDING, "beside Muon's matrices the embedding wants the higher rate"
    return 1.0, "as the matrices"


def _known(law: Estimate) -> str:
    return f"known to a factor {law.high / law.value:.0f}"


def steps(
    config: Config,
    manifest: Manifest,
    evaluated: int,
    measure: Callable[[Config], float] | None,
    earlier: Mapping[str, Any],
) -> tuple[int, str]:
    """The length of the run in updates, from whichever way it was given."""
    run, per_step = config.run, config.tokens_per_step
    if run.steps is not None:
        return run.steps, ""
    if run.tokens is not None:
        steps, reason = int(run.tokens // per_step), f"{run.tokens:,.0f} tokens of {per_step:,} a step"
    elif run.epochs is not None:
        tokens = run.epochs * manifest.train.tokens
        steps, reason = int(tokens // per_step), f"{run.epochs:g} passes over {manifest.train.tokens:,} tokens"
    elif earlier.get("run.minutes") == run.minutes:
        steps, reason = int(earlier["run.steps"]), "as the run began"
    else:
        assert run.minutes is not None
        assert measure is not None
        seconds = measure(config)
        updates = run.minutes * 60 / seconds  # as many as there would be without evaluations
        steps = max(int(updates - num_evaluations(config, updates, evaluated) * evaluation_cost(config, evaluated)), 1)
        reason = f"{run.minutes:g} minutes at {seconds:.4f} s an update, measured at the start, and the evaluations"
    if steps < 1:
        raise InputError(f"the run is shorter than one step of {per_step:,} tokens ({reason}); make it longer")
    return steps, reason


def evaluation_tokens(config: Config, manifest: Manifest, steps: int) -> tuple[int, str]:
    """How much of the validation text each evaluation reads, and why: all of it, where that takes little time."""
    whole, context = manifest.val.tokens, config.model.context
    affordable = EVALUATION_SHARE * steps * config.tokens_per_step * 3 / 2 / NUM_EVALUATIONS
    wanted = max(affordable, LEAST_EVALUATED)
    if wanted >= whole:
        return whole, "the whole validation set"
    reason = f"of {whole:,}: {NUM_EVALUATIONS} evaluations then take {EVALUATION_SHARE:.1%} of the run's arithmetic"
    if affordable < LEAST_EVALUATED:
        reason = f"of {whole:,}: the least that tells something"
    return max(int(wanted // context), 1) * context, f"{reason}; talweg eval reads all of it"


def evaluation_cost(config: Config, evaluated: int) -> float:
    """One evaluation in updates: a forward pass is a third of the arithmetic, over validation and training text."""
    return evaluated * 2 / 3 / config.tokens_per_step


def num_evaluations(config: Config, steps: float, evaluated: int) -> int:
    """How many evaluations a run of this many steps gets."""
    affordable = EVALUATION_SHARE * steps / evaluation_cost(config, evaluated)
    return int(min(NUM_EVALUATIONS, max(affordable, MIN_EVALUATIONS)))


def evaluation_interval(config: Config, steps: int, evaluated: int) -> tuple[int, str]:
    """About 30 evaluations, fewer where they would take too much of the time."""
    number, cost = num_evaluations(config, steps, evaluated), evaluation_cost(config, evaluated)
    reason = f"{number} evaluations a run"
    if number == MIN_EVALUATIONS and number * cost > EVALUATION_SHARE * steps:
        times = number * cost / steps
        much = f"{times:.0%} of" if times < 1.5 else f"{times:.0f} times"
        reason += (
            f", the fewest that show a trend; they take {much} the arithmetic of the steps: evaluation.tokens lowers it"
        )
    elif number < NUM_EVALUATIONS:
        reason += f"; {NUM_EVALUATIONS} would take more than {EVALUATION_SHARE:.1%} of its arithmetic"
    return max(math.floor(steps / number + 0.5), 1), reason
