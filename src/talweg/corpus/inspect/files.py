"""Token files of another's making: nanoGPT's train.bin, llm.c's .bin with a header, .npy. Nothing is unpickled.

A raw .bin does not say how wide its tokens are. Tokens of two bytes fill both halves of every four bytes alike; of
tokens of four bytes the upper half is nearly always small, and of eight bytes three quarters are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError

# Of llm.c's headers, 256 int32: magic number, version, tokens in the file, then nothing.
LLMC = {(20240520, 1): "<u2", (20240801, 7): "<u4"}
LLMC_HEADER = 1024  # bytes
SAMPLE = 1 << 16  # words of two bytes that the width is told from
SMALL_UPPER = 16  # upper halves of tokens of a vocabulary below a million
BESIDE = (".documents.npy", ".overlap.npy")  # what talweg prepare writes beside its tokens
NEARLY_ALL = 0.98  # our choice: of upper halves; of two-byte tokens of text under 5 % are so small


@dataclass(frozen=True, eq=False)
class TokenFile:
    """One file, memory-mapped."""

    path: Path
    tokens: NDArray[Any]  # (T,)
    because: str  # how the type of its numbers is known


def find(path: Path) -> tuple[list[Path], list[Path]]:
    """The training and the validation files that a folder or one of its files stands for, by their names."""
    folder = path if path.is_dir() else path.parent
    named = (p for p in sorted(folder.iterdir()) if p.suffix in (".bin", ".npy"))
    names = [p for p in named if not p.name.endswith(BESIDE)]
    if path.is_file() and "train" not in path.name:
        train = [path]
    elif path.is_file():  # with the shards beside it that differ in digits alone
        train = [p for p in names if _stem(p) == _stem(path)]
    else:
        train = [p for p in names if "train" in p.name]
    val = [p for p in names if "val" in p.name and p not in train]
    if path.is_file() and "train" in path.name:
        val = [p for p in val if _stem(p) == _stem(path).replace("train", _val_word(p))]
    return train, val


def holds_tokens(path: Path) -> bool:
    """Whether the path is a token file, or a folder with files of training tokens."""
    if path.is_dir():
        return bool(find(path)[0])
    return path.is_file() and path.suffix in (".bin", ".npy")


def _stem(path: Path) -> str:
    return "".join(c for c in path.name if not c.isdigit())


def _val_word(path: Path) -> str:
    return "validation" if "validation" in path.name else "val"


def open_file(path: Path) -> TokenFile:
    """Raises InputError for a file that is empty, cut off, or holds no tokens."""
    size = path.stat().st_size
    if path.suffix == ".npy":
        return _npy(path)
    if not size:
        raise InputError(f"{path} is empty; needed tokens as nanoGPT's prepare.py writes them (uint16)")
    header = np.fromfile(path, dtype="<i4", count=256)
    kind = LLMC.get((int(header[0]), int(header[1]))) if header.size == 256 else None
    if kind is not None:
        return _llmc(path, size, int(header[2]), np.dtype(kind))
    width, because = _width(path, size)
    tokens = np.memmap(path, dtype=f"<u{width}", mode="r")
    return TokenFile(path, tokens, because)


def _npy(path: Path) -> TokenFile:
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise InputError(f"{path} is cut off or no .npy of numbers; give the file that the trainer reads") from None
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or not tokens.size:
        found = f"{tokens.dtype} of shape {tokens.shape}"
        raise InputError(f"{path} holds {found}; needed one row of whole numbers, the tokens one after another")
    return TokenFile(path, tokens, f".npy of {tokens.dtype}")


def _llmc(path: Path, size: int, num: int, kind: np.dtype[Any]) -> TokenFile:
    held = (size - LLMC_HEADER) // kind.itemsize
    if num < 1 or held != num:
        raise InputError(
            f"{path} says in its header that it holds {num:,} tokens, but has room for {held:,}: copy again"
        )
    tokens = np.memmap(path, dtype=kind, mode="r", offset=LLMC_HEADER)
    return TokenFile(path, tokens, f"llm.c's header: {kind.name}")


def _width(path: Path, size: int) -> tuple[int, str]:
    """Bytes per token of a raw file, and what tells it."""
    if size % 2:
        raise InputError(f"{path} has {size:,} bytes, an odd number: no file of uint16 or uint32 tokens; copy it again")
    words = np.memmap(path, dtype="<u2", mode="r")
    stretches = np.linspace(0, max(words.size - SAMPLE // 8, 0), 8).astype(np.int64) // 4 * 4
    sample = [words[s : s + SAMPLE // 8] for s in stretches]
    for width in (8, 4):
        each = width // 2
        if size % width or words.size < 4 * each:
            continue
        rows = np.concatenate([s[: s.size // each * each].reshape(-1, each) for s in sample])
        small = float(np.mean(rows[:, 1:] < SMALL_UPPER))
        if small > NEARLY_ALL and float(np.mean(rows[:, 0] < SMALL_UPPER)) < NEARLY_ALL:
            return width, f"uint{8 * width}: {small:.0%} of its upper halves are small"
    return 2, "uint16: both halves of every four bytes are alike"


def read_all(paths: Sequence[Path]) -> list[TokenFile]:
    return [open_file(path) for path in paths]
