"""From columns as a log has them to a `Run`: which points are in force, whose they are, and what was overtaken."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talweg.logs.columns import Standing, standing
from talweg.logs.lines import Points
from talweg.run import COLUMN_NAMES, Facts, LossKind, Reading, Run, Series

LOSSES = ("train_loss", "train_eval_loss", "val_loss")
MOST_SEAMS = 0.05  # share of points of a column at which it goes back: beyond it, processes write at the same time


@dataclass(frozen=True, eq=False)
class Column:
    """One quantity in the order of the log, before anything is left out."""

    name: str  # in the log
    step: NDArray[np.float64]  # (T,) optimizer steps
    value: NDArray[np.float64]  # (T,) in the unit of the column of Run
    role: str | None = None  # the column of Run; None: it is kept under its own name
    kind: LossKind = "unknown"
    resolution: float = 0.0
    place: NDArray[np.int64] | None = None  # (T,) where in the log, by one count for all columns; None: unknown
    rank: NDArray[np.int64] | None = None  # (T,) the process that logged it, -1 unknown

    @classmethod
    def of(
        cls, name: str, points: Points, role: str | None = None, kind: LossKind = "unknown", scale: float = 1.0
    ) -> "Column":
        """A field of the lines of a log; values are multiplied by `scale`."""
        value = points.value if scale == 1.0 else points.value * scale
        resolution = 10.0**-points.decimals * scale
        return cls(name, points.step, value, role, kind, resolution, points.line, points.rank)

    @property
    def label(self) -> str:
        return self.name if self.role is None else self.role.replace("_", " ")

    def only(self, keep: NDArray[np.bool_]) -> "Column":
        if bool(keep.all()):
            return self
        place = None if self.place is None else self.place[keep]
        rank = None if self.rank is None else self.rank[keep]
        return replace(self, step=self.step[keep], value=self.value[keep], place=place, rank=rank)


def assemble(
    columns: Sequence[Column],
    *,
    source: str,
    format: str,
    facts: Facts | None = None,
    reading: Reading | None = None,
) -> Run:
    """The run of these columns. Of two columns with one role the first counts, the other keeps its own name.

    Where a column of losses goes back to an earlier step, the run was taken up again there: what stands before that
    place in the log, of that step or a later one, is overtaken in every column, and kept as `superseded`.
    """
    facts, reading = facts or Facts(), reading or Reading()
    columns, spread, num_ranks = _of_one_rank([kept for column in columns if (kept := _with_step(column)).step.size])
    notes: list[str] = []
    if num_ranks > 1:
        notes.append(f"{num_ranks} processes print their losses; those of the first were taken")
        facts = facts.over(Facts.stated("the processes that print", ranks=num_ranks))
    columns = _one_of_a_role(columns)
    stands = [standing(column.step, column.value) for column in columns]
    seams = _seams(columns, stands)
    series: dict[str, Series] = {} if spread is None else {"rank_loss_spread": spread}
    others: dict[str, Series] = {}
    superseded: dict[str, tuple[Series, ...]] = {}
    resumed: set[float] = set()
    for column, stands_here in zip(columns, stands, strict=True):
        keep = stands_here.keep & ~_overtaken(column, seams, stands_here)
        late = int(stands_here.keep.sum() - keep.sum())
        if column.role in LOSSES:
            notes.extend(replace(stands_here, num_superseded=stands_here.num_superseded + late).notes(column.label))
            resumed |= set(stands_here.went_back_to)
        left = column.only(keep)
        made = Series.of(left.step, left.value, kind=column.kind, resolution=column.resolution, name=column.name)
        (others if column.role is None else series)[column.role or column.name] = made
        if pieces := _pieces(column, keep, stands_here):
            superseded[column.role or column.name] = pieces
    facts = _with_resumes(facts, columns, resumed)
    starts = _starts(columns, stands)
    reading = replace(
        reading,
        notes=tuple(dict.fromkeys([*reading.notes, *notes])),
        run_starts=starts,
        runs=reading.runs or tuple(map(str, range(1, len(starts) + 1))),
    )
    known: Mapping[str, Series] = {name: value for name, value in series.items() if name in COLUMN_NAMES}
    return Run(
        source=source, format=format, facts=facts, reading=reading, others=others, superseded=superseded, **known
    )


def _with_resumes(facts: Facts, columns: Sequence[Column], went_back_to: set[float]) -> Facts:
    """The facts with the steps at which the log goes back, beside those of which it says that a checkpoint is read."""
    lowest = min((float(column.step.min()) for column in columns if column.role in LOSSES), default=0.0)
    seen = {step for step in went_back_to if step > max(lowest, 0.0)}
    if not seen:
        return facts
    told = set(facts.resumed_at or ())
    source = facts.sources.get("resumed_at", "") if seen <= told else "the log goes back there"
    both = tuple(sorted(seen | told))
    return replace(facts, resumed_at=both, sources={**facts.sources, "resumed_at": source})


def with_loads(run: Run, steps: Iterable[float], apart: float) -> Run:
    """The run with the steps at which its log tells of a checkpoint that was loaded; step 0 is a start.

    apart: steps from one line to the next. The log goes on with the first line after the checkpoint, so a step to which
    it went back so close behind one of these is the same resume.
    """
    loads = {step for step in steps if step > 0}
    seen = {step for step in run.facts.resumed_at or () if not any(0 < step - load <= apart for load in loads)}
    both = tuple(sorted(loads | seen))
    if not both:
        return run
    sources = {**run.facts.sources, "resumed_at": "printed in the log"}
    return replace(run, facts=replace(run.facts, resumed_at=both, sources=sources))


def _with_step(column: Column) -> Column:
    return column.only(np.isfinite(column.step))


def _one_of_a_role(columns: Sequence[Column]) -> list[Column]:
    seen: set[str] = set()
    kept = []
    for column in columns:
        name = column.role or column.name
        if column.role is not None and column.role in seen:
            column = replace(column, role=None)
            name = column.name
        if name in seen:
            continue
        seen.add(name)
        kept.append(column)
    return kept


# ---------------------------------------------------------------- processes


def _of_one_rank(columns: Sequence[Column]) -> tuple[list[Column], Series | None, int]:
    """The points of the first process, where several log the same steps; how far their training losses differ."""
    kept: list[Column] = []
    spread: Series | None = None
    most = 0
    for column in columns:
        ranks = np.unique(column.rank) if column.rank is not None else np.empty(0)
        if column.rank is None or ranks.size < 2:
            kept.append(column)
            continue
        mine = column.rank == ranks[0]
        num_steps, num_mine = np.unique(column.step).size, np.unique(column.step[mine]).size
        if column.step.size < 1.5 * num_steps or num_mine < 0.5 * num_steps:
            kept.append(column)  # the numbers before the lines are no ranks (grep -n puts some there)
            continue
        if column.role == "train_loss" and (found := _spread(column)) is not None:
            spread = found
        most = max(most, ranks.size if spread is not None or column.role in LOSSES else 0)
        kept.append(column.only(mine))
    return kept, spread, most


def _spread(column: Column) -> Series | None:
    """Highest minus lowest value of each step; None where the processes log one and the same."""
    order = np.argsort(column.step, kind="stable")
    step, value = column.step[order], column.value[order]
    first = np.flatnonzero(np.append(True, step[1:] != step[:-1]))
    with np.errstate(invalid="ignore", over="ignore"):  # inf of all of them: no difference that is known
        spread = np.maximum.reduceat(value, first) - np.minimum.reduceat(value, first)
    if not np.any(spread > 0):
        return None
    return Series.of(step[first], spread, resolution=column.resolution, name=f"{column.name} of the processes")


# ---------------------------------------------------------------- resumes


@dataclass(frozen=True)
class _Seam:
    """A loss went back: from the line `last` of the old part to the line `first` of the new one, which has `step`."""

    last: int
    first: int
    step: float


def _seams(columns: Sequence[Column], stands: Sequence[Standing]) -> list[_Seam]:
    seams: list[_Seam] = []
    for column, here in zip(columns, stands, strict=True):
        few = len(here.went_back_at) <= max(3.0, MOST_SEAMS * column.step.size)
        if column.role in LOSSES and column.place is not None and few:
            place = column.place
            seams += [_Seam(int(place[at - 1]), int(place[at]), float(column.step[at])) for at in here.went_back_at]
    return seams


def _overtaken(column: Column, seams: Sequence[_Seam], stands: Standing) -> NDArray[np.bool_]:
    """What stands before a seam, from its step on. Between its lines an evaluation of that very step is a new one.

    What stands behind it once more counts there: a learning rate comes out the same.
    """
    if column.place is None or not seams:
        return np.zeros(column.step.size, dtype=np.bool_)
    steps = np.array([seam.step for seam in seams])
    last, first = np.array([seam.last for seam in seams]), np.array([seam.first for seam in seams])
    places = column.place if stands.last is None else column.place[stands.last]
    return (column.step >= _lowest_after(last, steps, places)) | (column.step > _lowest_after(first - 1, steps, places))


def _lowest_after(
    line: NDArray[np.int64],  # (S,)
    step: NDArray[np.float64],  # (S,)
    place: NDArray[np.int64],  # (T,)
) -> NDArray[np.float64]:
    """(T,) the lowest step of those whose line is a place or comes after it; inf where there is none."""
    order = np.argsort(line, kind="stable")
    lowest = np.append(np.minimum.accumulate(step[order][::-1])[::-1], np.inf)
    return lowest[np.searchsorted(line[order], place)]


def _pieces(column: Column, keep: NDArray[np.bool_], stands: Standing) -> tuple[Series, ...]:
    """The points that were overtaken, a piece for each start of the run."""
    old = ~keep if stands.repeated is None else ~keep & ~stands.repeated
    if not old.any():
        return ()
    step, value = column.step[old], column.value[old]
    cuts = np.flatnonzero(np.diff(step) <= 0) + 1
    return tuple(
        Series.of(s, v, kind=column.kind, resolution=column.resolution, name=column.name)
        for s, v in zip(np.split(step, cuts), np.split(value, cuts), strict=True)
    )


def _starts(columns: Sequence[Column], stands: Sequence[Standing]) -> tuple[int, ...]:
    """The lines with which the runs of a log begin; () where it holds one."""
    found = [
        (column.step.size, column, here)
        for column, here in zip(columns, stands, strict=True)
        if column.role in LOSSES and column.place is not None
    ]
    if not found:
        return ()
    _, column, here = max(found, key=lambda item: item[0])
    assert column.place is not None
    if len(here.went_back_at) > max(3.0, MOST_SEAMS * column.step.size):
        return ()
    lowest = column.step.min()
    over = [at for at in here.went_back_at if column.step[at] <= lowest]
    return (0, *(_end_before(column, at, [other for _, other, _ in found]) for at in over)) if over else ()


def _end_before(column: Column, at: int, columns: Sequence[Column]) -> int:
    """The line behind the last one of the run that ended before a point: its last evaluation may follow its losses."""
    assert column.place is not None
    end, begin = int(column.place[at - 1]), int(column.place[at])
    for other in columns:
        assert other.place is not None
        late = other.place[(other.place > end) & (other.place < begin) & (other.step > column.step[at])]
        end = max(end, int(late.max()) if late.size else end)
    return end + 1
