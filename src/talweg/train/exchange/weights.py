"""Tensors by name from a file that somebody else wrote: no code in it is ever run, and damage is one line.

A .pt file is a pickle, which can name any function to be called on loading. torch's weights-only unpickler knows
tensors and plain values alone and refuses the rest. A zip of torch also has a checksum for each of its records, so a
flipped byte is found; safetensors have none, there only what breaks the header or the length is.
"""

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from talweg.errors import InputError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLED = "pytorch_model.bin"
PREFIXES = ("_orig_mod.", "module.")  # of torch.compile, of DistributedDataParallel; in any order
GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


class Weights:
    """What a file holds, taken one by one, so that what nobody asked for can be named."""

    def __init__(self, tensors: Mapping[str, Tensor], where: Path) -> None:
        self.where = where
        self._left = {_plain(name): tensor for name, tensor in tensors.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def __len__(self) -> int:
        return len(self._left)

    def names(self) -> tuple[str, ...]:
        return tuple(self._left)

    def peek(self, name: str) -> Tensor:
        return self._left[name]

    def take(self, name: str) -> Tensor:
        """In fp32. Raises InputError where it is missing or no tensor of numbers."""
        tensor = self._left.pop(name, None)
        if tensor is None:
            raise InputError(f"{self.where} lacks the weight {name}, which its configuration asks for")
        if not tensor.is_floating_point():
            raise InputError(f"{self.where}: {name} is of {tensor.dtype}; needed weights that are not quantised")
        return tensor.detach().to(torch.float32)

    def drop(self, pattern: re.Pattern[str]) -> None:
        """Pass over names that hold no weights, such as masks."""
        self._left = {name: tensor for name, tensor in self._left.items() if not pattern.fullmatch(name)}

    def put_under(self, root: str) -> None:
        """Names of a part of a model become those of the whole."""
        self._left = {name if name == "lm_head.weight" else root + name: each for name, each in self._left.items()}

    def leave_out(self, name: str) -> None:
        self._left.pop(name, None)

    def finish(self) -> None:
        """Raises InputError where something is left that the model has no place for."""
        if self._left:
            left = sorted(self._left)
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            raise InputError(f"{self.where} holds {left[0]}{more}, which this architecture has no place for")


def _plain(name: str) -> str:
    """The name without what torch.compile and DistributedDataParallel put before it."""
    while True:
        prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), None)
        if prefix is None:
            return name
        name = name.removeprefix(prefix)


def read_pickled(path: Path) -> Any:
    """What a .pt or .bin file of torch holds: tensors and plain values. Raises InputError for anything else."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            with zipfile.ZipFile(path) as records:
                if bad := records.testzip():
                    raise InputError(f"{path} is damaged: the checksum of {bad} in it is wrong; copy it anew")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        if named := GLOBAL.search(str(error)):
            raise InputError(
                f"{path} asks to call {named[1]} when it is loaded, and code of a file is never run; save its weights "
                "again as plain tensors, best as safetensors"
            ) from None
        raise InputError(_no_file_of_torch(path)) from None
    except Exception:  # a zip or a pickle that is broken raises whatever its bytes lead to
        raise InputError(_no_file_of_torch(path)) from None


def _no_file_of_torch(path: Path) -> str:
    return f"{path} is cut off, damaged, or no file that torch.save wrote"


def read_folder(folder: Path) -> Weights:
    """The weights of an HF folder: safetensors in one file or by an index, else pytorch_model.bin."""
    if (folder / INDEX).is_file():
        return Weights(_sharded(folder), folder)
    if (folder / SINGLE).is_file():
        return Weights(read_safetensors(folder / SINGLE), folder / SINGLE)
    if (folder / PICKLED).is_file():
        return Weights(tensors_of(read_pickled(folder / PICKLED), folder / PICKLED), folder / PICKLED)
    raise InputError(f"{folder} has no weights: needed {SINGLE}, {INDEX} or {PICKLED}")


def read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # SafetensorError, or a type that torch does not know
        raise InputError(f"{path} is cut off or damaged ({_short(error)})") from None


def _sharded(folder: Path) -> dict[str, Tensor]:
    index = read_json(folder / INDEX)
    place = index.get("weight_map")
    if not isinstance(place, dict) or not all(_is_file_name(name) for name in place.values()):
        raise InputError(f"{folder / INDEX} is damaged: needed a weight_map from names to files beside it")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(place.values())):
        tensors.update(read_safetensors(folder / name))
    if missing := sorted(place.keys() - tensors.keys()):
        raise InputError(f"{folder / place[missing[0]]} lacks the weight {missing[0]}, which {INDEX} puts there")
    return tensors


def _is_file_name(name: object) -> bool:
    """Of a file in the same folder: an index leads nowhere else."""
    return isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors")


def tensors_of(content: Any, where: Path) -> dict[str, Tensor]:
    """A state dict. Raises InputError where it is none."""
    if not isinstance(content, dict) or not content or not all(isinstance(key, str) for key in content):
        raise InputError(f"{where} holds no weights by name")
    odd = next((key for key, value in content.items() if not isinstance(value, Tensor)), None)
    if odd is not None:
        raise InputError(f"{where}: {odd} is no tensor; needed weights by name")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises InputError where the file is missing or holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} is cut off or no JSON") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object")
    return content


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
