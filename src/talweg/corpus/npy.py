"""Arrays as .npy files that say what went wrong: numpy's own writer hides that a disk is full."""

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from talweg.files import replacing


def write(file: IO[bytes], array: NDArray[Any]) -> None:
    """A one-dimensional or C-ordered array, header and data."""
    header = np.lib.format.header_data_from_array_1_0(np.ascontiguousarray(array))
    np.lib.format.write_array_header_1_0(file, header)
    file.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")


def save(path: Path, array: NDArray[Any]) -> None:
    """The file of an array, complete or not at all."""
    with replacing(path) as file:
        write(file, array)
