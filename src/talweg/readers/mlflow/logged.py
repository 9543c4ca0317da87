"""What both of MLflow's stores hold: runs, and the points of their metrics."""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stored:
    """One run in a store."""

    id: str
    name: str
    is_deleted: bool = False
    place: str = ""  # of a folder of files: where the run lies


@dataclass(frozen=True, eq=False)
class Metric:
    """The points of one metric, as they are stored."""

    key: str
    time: NDArray[np.float64]  # (T,) milliseconds since 1970
    value: NDArray[np.float64]  # (T,)
    step: NDArray[np.float64]  # (T,)
    order: NDArray[np.int64]  # (T,) which of two points of one time was logged first


def setting(text: str) -> object:
    """A parameter, which is stored as the text of what a program gave."""
    if text in ("True", "False"):
        return text == "True"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None if text == "None" else text
    return value if isinstance(value, int | float | list) else text
