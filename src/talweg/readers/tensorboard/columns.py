"""Columns out of the scalars of several files: restarts joined, halves and processes told apart, Keras's two steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talweg.logs.assemble import Column
from talweg.logs.roles import TRAIN_WORDS, VAL_WORDS, words
from talweg.logs.tracked import most_told
from talweg.readers.tensorboard.scalars import Piece, Scalars

# beginnings of Keras's tags: their steps are epochs, or updates
KERAS_EPOCHS, KERAS_UPDATES = ("epoch_",), ("batch_", "evaluation_")


def joined(parts: Sequence[tuple[str, Scalars]]) -> tuple[list[Column], dict[str, NDArray[np.float64]], list[str]]:
    """A column for each tag, and the wall times of its points, of files in the order in which they were begun.

    Beside them what a person should know.

    A tag that stands in several folders, or that does not say itself whether it is of training or of validation, is
    named with its folder: validation/loss.
    """
    held = [(folder, dict(part.columns())) for folder, part in parts]
    ranks = _processes(held, [part.times for _, part in parts])
    where: dict[str, set[str]] = {}
    for folder, columns in held:
        for tag in columns:
            where.setdefault(tag, set()).add(folder)
    pieces: dict[str, list[tuple[Piece, int, int]]] = {}
    first = 0
    for (folder, columns), rank, (_, part) in zip(held, ranks, parts, strict=True):
        for tag, piece in columns.items():
            sided = words(tag) & (TRAIN_WORDS | VAL_WORDS)
            name = f"{folder}/{tag}" if folder and (len(where[tag]) > 1 or not sided) else tag
            pieces.setdefault(name, []).append((piece, first, rank))
        first += part.damage.records
    found, times = [], {}
    names, notes = most_told({name: sum(piece[1].size for piece, _, _ in those) for name, those in pieces.items()})
    for name in names:
        those = pieces[name]
        _, step, wall, value, _ = (np.concatenate(part) for part in zip(*(piece for piece, _, _ in those), strict=True))
        place = np.concatenate([piece[4] + before for piece, before, _ in those])
        rank_of = np.concatenate([np.full(piece[1].size, rank) for piece, _, rank in those])
        several = len({rank for _, _, rank in those}) > 1
        found.append(Column(name, step.astype(np.float64), value, place=place, rank=rank_of if several else None))
        times[name] = wall
    return found, times, notes


def _processes(held: Sequence[tuple[str, dict[str, Piece]]], times: Sequence[tuple[float, float]]) -> list[int]:
    """Which process of the run wrote each file: those that log the same tags at the same time are several."""
    ranks = [0] * len(held)
    for folder in {folder for folder, _ in held}:
        cluster: list[int] = []
        until = -np.inf
        for at in (at for at, (mine, _) in enumerate(held) if mine == folder):
            shares = bool(cluster) and bool(held[cluster[0]][1].keys() & held[at][1].keys())
            if shares and times[at][0] < until:
                ranks[at] = len(cluster)
                cluster.append(at)
            else:
                cluster, until = [at], -np.inf
            until = np.fmax(until, times[at][1])
    return ranks


def wall_time(columns: Sequence[Column], times: dict[str, NDArray[np.float64]]) -> list[Column]:
    """When the steps of the first loss were logged."""
    for role in ("train_loss", "val_loss", "train_eval_loss"):
        for column in columns:
            if column.role == role and np.isfinite(wall := times[column.name]).any():
                timed = replace(column, name="wall_time", role="wall_time", kind="unknown", value=wall, resolution=0.0)
                return [timed.only(np.isfinite(wall))]
    return []


# ---------------------------------------------------------------- Keras


@dataclass(frozen=True)
class Steps:
    """quantities: those whose steps count the same; others: the rest."""

    quantities: list[Column]
    others: list[Column]
    unit: str | None = None
    keras: bool = False
    notes: tuple[str, ...] = ()

    def with_kind(self, column: Column) -> Column:
        """Keras's loss of an epoch is its mean; while the epoch lasts it logs the mean so far."""
        if not self.keras or column.role != "train_loss":
            return column
        return replace(column, kind="interval_mean" if _last(column.name).startswith(KERAS_EPOCHS) else "running_mean")


def in_one_unit(quantities: list[Column]) -> Steps:
    """Keras logs epoch_loss against epochs and batch_loss against updates: the latter are taken where they stand."""
    names = [_last(quantity.name) for quantity in quantities]
    if "epoch_loss" not in names:
        return Steps(quantities, [])
    updates = "batch_loss" in names
    aside = KERAS_EPOCHS if updates else KERAS_UPDATES
    others = [quantity for quantity in quantities if _last(quantity.name).startswith(aside)]
    kept = [quantity for quantity in quantities if not _last(quantity.name).startswith(aside)]
    counted = "epochs" if updates else "updates"
    notes = (f"the steps of {others[0].name} and its like count {counted}; they were kept apart",) if others else ()
    return Steps(kept, others, None if updates else "epoch", True, notes)


def _last(name: str) -> str:
    return name.rpartition("/")[2]
