"""A column as a log has it: which of its points are in force, and how finely its numbers are printed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PRINTED = re.compile(r"[-+]?[0-9,]*\.?([0-9]*)(?:[eE]([-+]?[0-9]+))?$")


@dataclass(frozen=True, eq=False)
class Standing:
    """keep: (T,) the points that are in force, in the order of the log."""

    keep: NDArray[np.bool_]
    num_repeated: int = 0  # the same step with the same value stood there before
    num_superseded: int = 0  # a later line went back to this step or before it
    went_back_to: tuple[float, ...] = ()  # the steps at which the log went back: resumes, or runs started anew
    went_back_at: tuple[int, ...] = ()  # the indices of the points with these steps
    repeated: NDArray[np.bool_] | None = None  # (T,) None: no point
    last: NDArray[np.intp] | None = (
        None  # (T,) where the same step with the same value stands last; None: nothing repeats
    )

    def notes(self, name: str) -> tuple[str, ...]:
        """What a person should know of it; `name` is what these points are, e.g. "train loss"."""
        notes: tuple[str, ...] = ()
        if self.num_repeated:
            notes += (
                f"{name}: points that stand in the log more than once were counted once ({self.num_repeated} left out)",
            )
        if not self.num_superseded:
            return notes
        if not self.went_back_to:
            told = (
                f"at {self.num_superseded} steps it stands there twice with different values; the later one was taken"
            )
        elif min(self.went_back_to) > 0:
            places = ", ".join(f"{step:,.0f}" for step in self.went_back_to[:4])
            more = ", ..." if len(self.went_back_to) > 4 else ""
            told = f"the log goes back to step {places}{more} (a resume); "
            told += f"{self.num_superseded} points that were trained anew were left out"
        else:
            told = f"the log starts over at step {min(self.went_back_to):,.0f}; "
            told += f"{self.num_superseded} points of what ran before were left out"
        return (*notes, f"{name}: {told}")


def standing(
    step: NDArray[np.float64],  # (T,) in the order of the log
    value: NDArray[np.float64],  # (T,)
) -> Standing:
    """Which points are in force when a log repeats lines or goes back to an earlier step: the later ones win.

    A point is overtaken when any later one stands at its step or before it; a line that is repeated word for word
    (several processes print it) counts once, at its first place, and overtakes nothing. Where that place was overtaken
    and the last one was not, a resumed run gave the same value again, and it counts there.
    """
    keep = np.ones(step.size, dtype=np.bool_)
    if step.size < 2 or bool(np.all(np.diff(step) > 0)):
        return Standing(keep)
    bits = np.ascontiguousarray(value).view(np.int64)  # NaN equals NaN here
    order = np.lexsort((np.arange(step.size), bits, step))
    same = (np.diff(step[order]) == 0) & (np.diff(bits[order]) == 0)
    keep[order[1:][same]] = False
    last = np.arange(step.size)
    heads = np.flatnonzero(np.append(True, ~same))
    last[order[heads]] = order[np.append(heads[1:], step.size) - 1]
    first = np.flatnonzero(keep)
    steps = step[first]
    lowest = np.append(np.minimum.accumulate(steps[::-1])[::-1], np.inf)  # of each of these steps and those after it
    overtaken = steps >= lowest[1:]
    keep[first[overtaken]] = False
    anew = _given_again(last[first[overtaken]], step, first, lowest, np.flatnonzero(keep))
    keep[anew] = True
    back = first[1:][np.diff(steps) < 0]
    repeated = np.zeros(step.size, dtype=np.bool_)
    repeated[order[1:][same]] = True
    return Standing(
        keep,
        int(same.sum()) - anew.size,
        int(overtaken.sum()),
        tuple(map(float, step[back])),
        tuple(map(int, back)),
        repeated,
        last,
    )


def _given_again(
    again: NDArray[np.intp],  # the last places of points whose first place was overtaken
    step: NDArray[np.float64],
    first: NDArray[np.intp],  # the places of points that repeat none before them
    lowest: NDArray[np.float64],  # of the step at each of these places and at those after it, and inf
    kept: NDArray[np.intp],
) -> NDArray[np.intp]:
    """Of these places those that fit between the points in force: nothing at that step or before it comes later."""
    again = np.sort(again)
    later = lowest[np.searchsorted(first, again, side="right")]
    earlier = np.append(-np.inf, step[kept])[np.searchsorted(kept, again)]
    again = again[(step[again] < later) & (step[again] > earlier)]
    after = np.append(np.minimum.accumulate(step[again][::-1])[::-1], np.inf)[1:]
    return again[step[again] < after]


def decimals(texts: Iterable[str]) -> int:
    """The most digits after the decimal point among these printed numbers; 1.5e-3 has four."""
    most = 0
    for text in texts:
        if match := PRINTED.match(text):
            most = max(most, len(match[1]) - int(match[2] or 0))
    return most
