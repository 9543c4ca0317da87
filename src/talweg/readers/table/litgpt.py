"""litgpt's metrics.csv: its column `step` is `iter - 1` and counts micro-batches, not updates."""

from dataclasses import replace

import numpy as np

from talweg.configs import read_facts
from talweg.errors import InputError
from talweg.logs.given import Asked
from talweg.logs.rows import Cells, Steps, constant
from talweg.readers.table.load import Table
from talweg.run import Facts, Run

COLUMNS = {"iter", "iter_time", "step", "loss", "samples", "total_tokens"}


def wrote(table: Table) -> bool:
    return set(table.cells) >= COLUMNS and all(table.cells[name].row.size for name in COLUMNS)


def steps(table: Table, asked: Asked) -> Steps | None:
    """Updates, where a configuration says how many micro-batches make one; micro-batches otherwise."""
    if "step" in asked.columns:
        return None
    cells = table.cells["step"]
    cells = replace(cells, value=cells.value + 1)
    facts = _sizes(table)
    ratio = _ratio(table, asked)
    if ratio is None:
        told = "its steps are litgpt's count of micro-batches; with --config (litgpt's yaml) they become updates"
        return Steps("step", cells, facts.over(Facts.stated("litgpt's metrics.csv", step_unit="micro_batch")), (told,))
    done = np.floor(cells.value / ratio + 1e-9)
    told = f"litgpt's count of micro-batches was divided by {ratio}, the micro-batches of an update"
    facts = facts.over(Facts.stated("the configuration and column total_tokens", accumulation=ratio))
    return Steps("step", replace(cells, value=done), facts, (told,))


def completed(run: Run) -> Run:
    """Its loss is the mean over the last update's micro-batches on the first process."""
    loss = replace(run.train_loss, kind="batch" if run.facts.step_unit is None else run.train_loss.kind)
    facts = Facts.stated("litgpt's metrics.csv", train_loss_ranks="one")
    return replace(run, train_loss=loss, facts=run.facts.over(facts))


def _sizes(table: Table) -> Facts:
    """Sequences of a micro-batch and their tokens, from counts that grow with the iterations."""
    sequences = _each(table.cells["samples"], table.cells["iter"])
    tokens = _each(table.cells["tokens"], table.cells["samples"]) if "tokens" in table.cells else None
    return Facts.stated("litgpt's columns samples, tokens and iter", micro_batch=sequences, context=tokens)


def _each(count: Cells, per: Cells) -> int | None:
    """How much of one there is for each of the other; None where that changes."""
    if count.row.size != per.row.size or not bool((count.row == per.row).all() and (per.value > 0).all()):
        return None
    value = constant(count.value / per.value)
    return None if value is None or value != round(value) else round(value)


def _ratio(table: Table, asked: Asked) -> int | None:
    tokens = _each(table.cells["total_tokens"], table.cells["iter"])
    sizes = _sizes(table)
    for path in (asked.config, *asked.beside):
        try:
            stated = Facts() if path is None else read_facts(path, sizes)
        except InputError:
            continue
        if path != asked.config and stated.micro_batch not in (None, sizes.micro_batch):
            continue  # a file beside the log that is of another run
        update = stated.tokens_per_step
        if update and tokens and update >= tokens and abs(update / tokens - round(update / tokens)) < 0.01:
            return round(update / tokens)
    return None
