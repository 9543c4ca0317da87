"""`talweg export`: a data folder, checked against its sha256, written in the format of another trainer."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import manifest as manifests
from talweg.corpus import shards
from talweg.corpus import tokenizer as tokenizers
from talweg.corpus.exchange import datatrove, llmc, nanogpt
from talweg.corpus.exchange.staging import Progress, filling
from talweg.corpus.exchange.stream import Part
from talweg.corpus.shards import Split, open_split
from talweg.errors import InputError

FORMATS = ("nanogpt", "llmc", "datatrove")
TOKEN_TYPES = ("uint16", "uint32")
MEGABYTE = 1e6
SIDES: tuple[Literal["train"], Literal["val"]] = ("train", "val")

Shard = tuple[Part, NDArray[np.uint64]]  # its tokens, and where its documents end


@dataclass(frozen=True)
class Exported:
    """files: the tokens of each file of tokens, by its name in the folder."""

    files: dict[str, int]
    dtype: str

    @property
    def tokens(self) -> int:
        return sum(self.files.values())


def export(data: Path, out: Path, *, to: str, dtype: str | None = None, progress: Progress | None = None) -> Exported:
    """Write the tokens of a data folder, and tokenizer.json beside them, into the folder `out`.

    to: one of FORMATS. dtype: uint16 or uint32; None: what the format takes for this vocabulary. progress(stage, done,
    total) is called as the work goes on. Raises InputError where the data are damaged, the vocabulary does not fit or
    `out` holds other files; `out` is then as it was.
    """
    data, out = Path(data), Path(out)
    report = progress or (lambda stage, done, total: None)
    if to not in FORMATS:
        raise InputError(f"{to} is no format that data can be exported to; there are {', '.join(FORMATS)}")
    if dtype is not None and dtype not in TOKEN_TYPES:
        raise InputError(f"tokens of {dtype}; give --dtype uint16 or uint32")
    manifest = manifests.read(data)
    tokenizer = tokenizers.load(data)
    if dtype == "uint16" and tokenizer.vocabulary_size > 2**16:
        raise InputError(
            f"{data} has a vocabulary of {tokenizer.vocabulary_size:,} tokens, and uint16 holds 65,536; "
            "give --dtype uint32"
        )
    splits: dict[str, list[Shard]] = {
        side: _shards(open_split(data, side)) for side in SIDES if getattr(manifest, side).shards
    }
    total = manifest.train.tokens + manifest.val.tokens
    done = 0

    def blocks(parts: Sequence[Part]) -> Iterator[NDArray[Any]]:
        """A stretch at a time, counted towards the whole."""
        nonlocal done
        for block in chain.from_iterable(part.blocks() for part in parts):
            if int(block.max()) >= tokenizer.vocabulary_size:
                raise InputError(f"{data} holds token {int(block.max())}, outside its vocabulary; prepare it again")
            yield block
            done += block.size
            report("exporting", done / MEGABYTE, total / MEGABYTE)

    with filling(out) as stage:
        shards.verify(data, lambda done, total: report("checking", done / MEGABYTE, total / MEGABYTE))
        if to == "datatrove":
            files = _datatrove(splits, blocks, stage, tokenizer, dtype)
        else:
            sides: dict[str, Callable[[], Iterator[NDArray[Any]]]] = {
                side: partial(blocks, [part for part, _ in each]) for side, each in splits.items()
            }
            if to == "nanogpt":
                files = nanogpt.export(sides, stage, tokenizer, dtype)
            else:
                files = llmc.export(sides, stage, tokenizer, dtype, _name(data))
        tokenizer.save(stage)
    return Exported(files, dtype or ("uint16" if to == "nanogpt" else tokenizer.dtype.name))


def _shards(split: Split) -> list[Shard]:
    """The shards as files to be read in blocks: mapped ones would count as memory until the last of them is done."""
    return [
        (Part(Path(tokens.filename), tokens.dtype.name, tokens.offset, tokens.size), ends)
        for tokens, ends in split.shards()
    ]


def _datatrove(
    splits: dict[str, list[Shard]],
    blocks: Callable[[Sequence[Part]], Iterator[NDArray[Any]]],
    stage: Path,
    tokenizer: tokenizers.Tokenizer,
    dtype: str | None,
) -> dict[str, int]:
    files = {}
    for side, each in splits.items():
        for i, (part, ends) in enumerate(each):
            name = f"{side}/{i:05d}_unshuffled.ds"
            files[name] = datatrove.export_shard(blocks([part]), ends, stage / name, tokenizer, dtype)
    return files


def _name(data: Path) -> str:
    """What the files of llm.c begin with: the name of the data folder."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", data.resolve().name).strip("_") or "talweg"
