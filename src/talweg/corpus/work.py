"""The work folder: where each task of each stage leaves what it made, complete or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.files import replacing, sync_folder

Progress = Callable[[float, float], None]  # done and total of a task, in bytes of text


def output(work: Path, stage: str, index: int) -> Path:
    """What task `index` of a stage makes, a file or a folder. It is there when the task is done, and not before."""
    return work / stage / f"{index:05d}"


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with replacing(path) as file:
        np.savez(file, **dict(arrays))  # type: ignore[arg-type]  # numpy's own signature also names its options


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def load_array(path: Path, name: str) -> NDArray[Any]:
    """One of the arrays of a file, without reading the others."""
    with np.load(path, allow_pickle=False) as arrays:
        array: NDArray[Any] = arrays[name]
        return array


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes its place at the end; on an error nothing is left."""
    stage = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        yield stage
        sync_folder(stage)
        shutil.rmtree(path, ignore_errors=True)
        stage.replace(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
