"""The header of a safetensors file: names and shapes of all tensors, from which its model's parameters are counted.

8 bytes say how long the header is; it is JSON. The tensors behind it are not read. Of a model in several files all must
be there: one of them says nothing of the whole.
"""

import json
import re
from pathlib import Path
from typing import Any

from talweg.configs.pickled.tensors import Tensor, facts_of
from talweg.errors import InputError
from talweg.run import Facts
from talweg.textfile import Decompressed

NAME = "safetensors_header"
LARGEST = 100_000_000  # bytes of a header, the format's own limit
SHARD = re.compile(r"-([0-9]{5})-of-([0-9]{5})\.safetensors$")


def sniff(path: Path, head: str) -> float:
    """Never: they are no text."""
    return 0.0


def sniff_raw(path: Path, raw: bytes) -> float:
    """A length that could be one, and JSON behind it."""
    length = int.from_bytes(raw[:8], "little")
    return 0.95 if 2 <= length <= LARGEST and raw[8:10] in (b'{"', b"{}", b"{ ", b"{\n") else 0.0


def read(path: Path) -> Facts:
    """Raises InputError when a header is damaged, or when a file of the model is missing."""
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    for part in _files(path):
        tensors |= _tensors(part)
    facts = facts_of(tensors, path.name)
    if not facts.sources:
        raise InputError(f"{path} holds no weights of a model")
    return facts


def _files(path: Path) -> list[Path]:
    shard = SHARD.search(path.name)
    if shard is None:
        return [path]
    first = path.name[: shard.start()]
    files = [path.with_name(f"{first}-{place:05d}-of-{shard[2]}.safetensors") for place in range(1, int(shard[2]) + 1)]
    if missing := next((file for file in files if not file.is_file()), None):
        raise InputError(f"{path} is one of {len(files)} files of a model, and {missing.name} is not beside it")
    return files


def _tensors(path: Path) -> dict[str, Tensor]:
    with Decompressed(path, str(path)) as file:
        length = int.from_bytes(file.read(8), "little")
        raw = file.read(min(length, LARGEST))
    broken = InputError(f"{path} is damaged: its header breaks off or is no JSON; copy it again")
    try:
        header: Any = json.loads(raw)
        if len(raw) < length:
            raise broken
        return {name: _tensor(entry) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise broken from None


def _tensor(entry: Any) -> Tensor:
    shape = tuple(entry["shape"])
    if not all(type(size) is int and 0 <= size < 1 << 48 for size in shape):
        raise ValueError
    return Tensor(shape, str(entry["dtype"]))
