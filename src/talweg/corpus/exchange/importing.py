"""Another trainer's tokens become a data folder: nanoGPT's train.bin and val.bin, llm.c's shards.

The files are read twice. First the tokens are held against the tokenizer, and the separators say where documents end;
then everything is written and counted. Tokens are never changed: what nobody can know of tokens without their text (a
split by host, quality) stays unsaid, and the manifest's warnings say what is unusual about the files.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talweg import __version__
from talweg.corpus import manifest as manifests
from talweg.corpus.draw import key, mixed
from talweg.corpus.entropy import Counts, Entropies
from talweg.corpus.exchange import llmc, nanogpt
from talweg.corpus.exchange.staging import Progress, filling
from talweg.corpus.exchange.stream import Stream
from talweg.corpus.exchange.token_bytes import token_bytes
from talweg.corpus.manifest import FORMAT, Input, Manifest, Side, SplitFacts, TokenizerFacts
from talweg.corpus.shards import ShardWriter
from talweg.corpus.tokenizer import Tokenizer
from talweg.errors import InputError

TRAIN, VAL = 0, 1
SIDES = ("train", "val")
NAMED = re.compile(r"(?:^|[_.-])(train|val|valid|validation)(?=[_.-]|$)")
DATA_FOLDER = re.compile(r"(train|val)-\d{5}(\.\w+)?\.npy|(manifest|tokenizer|quality)\.json|left_out\.parquet")
VAL_TOKENS = 2_000_000  # validation that is split off is never larger
MEGABYTE = 1e6
LENGTH_BINS = 40  # of powers of two
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def holds_tokens(inputs: Sequence[Path | str]) -> bool:
    """Whether these are token files, or folders of nothing else to prepare."""
    return bool(inputs) and all(
        any(Path(each).glob("*.bin")) and not any(Path(each).glob("*.parquet"))
        if Path(each).is_dir()
        else Path(each).suffix == ".bin"
        for each in inputs
    )


def import_tokens(
    inputs: Sequence[Path | str],
    out: Path,
    *,
    tokenizer: Tokenizer | None,
    val_share: float = 0.01,
    seed: int = 0,
    progress: Progress | None = None,
) -> Manifest:
    """Write the data folder `out` from token files or folders of them, and return its manifest.

    A file belongs to train or val by its name. Where there is no val, whole documents are split off, in an order drawn
    by the seed, until they hold val_share of the tokens (2 M at most). Raises InputError for files that are not
    tokens of this tokenizer; `out` is then as it was.
    """
    report = progress or (lambda stage, done, total: None)
    files = _files(inputs)
    if tokenizer is None:
        pickled = " (meta.pkl is a pickle, which is never read)" if _beside(files["train"], "meta.pkl") else ""
        raise InputError(
            f"{files['train'][0]} holds tokens, and their tokenizer is not known{pickled}; "
            "give --tokenizer gpt2, bytes, or the path of a tokenizer.json"
        )
    if not 0 < val_share <= 0.5:
        raise InputError(f"a share of {val_share:g} for validation leaves one side empty; give 0 < val_share <= 0.5")
    streams = {name: _stream(paths, tokenizer) for name, paths in files.items() if paths}
    found = {name: _scan(stream, tokenizer, report) for name, stream in streams.items()}
    side = _assigned(found, val_share, seed, files["train"][0])
    with filling(Path(out), DATA_FOLDER, last=manifests.FILE) as stage:
        tallies, entropies = _write(streams, found, side, tokenizer, stage, report)
        tokenizer.save(stage)
        sides = [tally.finished() for tally in tallies]
        warnings = [*_warnings(files, found, tallies, tokenizer), *_split_warnings(streams, sides, tallies)]
        manifest = Manifest(
            format=FORMAT,
            talweg=__version__,
            tokenizer=TokenizerFacts(
                tokenizer.name, tokenizer.sha256, tokenizer.vocabulary_size, tokenizer.separator_id
            ),
            dtype=tokenizer.dtype.name,
            seed=seed,
            split=_split_facts(streams, sides, val_share),
            train=sides[TRAIN],
            val=sides[VAL],
            unigram_nats=entropies.unigram,
            bigram_nats=entropies.bigram,
            bigram_share=entropies.bigram_share,
            bytes_per_token=sides[TRAIN].bytes / sides[TRAIN].tokens,
            inputs=tuple(_inputs(streams, found)),
            warnings=tuple(warnings),
        )
        manifests.write(stage, manifest)
    return manifest


def _files(inputs: Sequence[Path | str]) -> dict[str, list[Path]]:
    """The files of train and of val, in the order of their names within each input."""
    sides: dict[str, list[Path]] = {"train": [], "val": []}
    for each in map(Path, inputs):
        if not each.exists():
            raise InputError(f"{each} is not there; give token files, such as train.bin and val.bin, or their folder")
        paths = sorted(each.glob("*.bin")) if each.is_dir() else [each]
        if not paths:
            raise InputError(f"{each} holds no .bin files; give the folder of train.bin and val.bin, or of shards")
        for path in paths:
            names = NAMED.findall(path.stem)
            if not names:
                raise InputError(
                    f"{path} does not say what it is for; needed train or val in its name, such as train.bin or "
                    "web_val_000000.bin"
                )
            sides["train" if names[-1] == "train" else "val"].append(path)
    if not sides["train"]:
        raise InputError(f"{sides['val'][0]} is for validation, and there is no train file; give it too")
    return sides


def _beside(paths: list[Path], name: str) -> bool:
    return any((path.parent / name).exists() for path in paths)


def _stream(paths: list[Path], tokenizer: Tokenizer) -> Stream:
    plain = [path.name in nanogpt.NAMES and llmc.magic_of(path) not in llmc.KINDS for path in paths]
    if not all(plain):
        return llmc.read(paths)
    return nanogpt.read(paths, tokenizer.vocabulary_size, tokenizer.separator_id)


@dataclass(frozen=True, eq=False)
class _Found:
    """What the first reading of a side found."""

    lengths: NDArray[np.int64]  # (documents,) tokens of each, its separator counted
    no_separator: bool
    added: bool  # whether a separator was added at the end


def _scan(stream: Stream, tokenizer: Tokenizer, report: Progress) -> _Found:
    """Hold every token against the vocabulary, and find where documents end."""
    done, total, ends = 0, stream.tokens / MEGABYTE, []
    blocks, added = stream.ended(tokenizer.separator_id)
    for block in blocks:
        largest = int(block.max())
        if largest >= tokenizer.vocabulary_size:
            raise InputError(
                f"{stream.parts[0].path} holds token {largest:,}, and the tokenizer ({tokenizer.name}) has "
                f"{tokenizer.vocabulary_size:,}; give the tokenizer that made it"
            )
        ends.append(np.flatnonzero(block == tokenizer.separator_id) + done + 1)
        done += block.size
        report("checking", min(done / MEGABYTE, total), total)
    lengths: NDArray[np.int64] = np.diff(np.concatenate([np.zeros(1, np.int64), *ends]))
    return _Found(lengths, no_separator=added and lengths.size == 1, added=added)


def _assigned(found: dict[str, _Found], val_share: float, seed: int, path: Path) -> dict[str, NDArray[np.int8]]:
    """(documents,) TRAIN or VAL of each document of each stream."""
    sides = {name: np.full(each.lengths.size, SIDES.index(name), dtype=np.int8) for name, each in found.items()}
    if "val" in found:
        return sides
    lengths = found["train"].lengths
    if lengths.size < 2:
        raise InputError(f"{path} is one document and there is no val file, so nothing can be split off; give val.bin")
    order = np.argsort(mixed(np.arange(lengths.size, dtype=np.uint64) ^ np.uint64(key(seed))), kind="stable")
    wanted = min(val_share * float(lengths.sum()), VAL_TOKENS)
    num = int(np.searchsorted(np.cumsum(lengths[order]), wanted)) + 1
    sides["train"][order[: min(num, lengths.size - 1)]] = VAL
    return sides


@dataclass(eq=False)
class _Tally:
    """What is counted of one side while it is written."""

    writer: ShardWriter
    sizes: NDArray[np.int64]  # (V,) bytes of each token
    bytes: int = 0
    largest: int = -1
    lengths: list[NDArray[np.int64]] = field(default_factory=list)
    hashes: list[NDArray[np.uint64]] = field(default_factory=list)

    def add(self, tokens: NDArray[np.generic]) -> None:
        if tokens.size:
            self.bytes += int(self.sizes[tokens].sum())
            self.largest = max(self.largest, int(tokens.max()))

    def finished(self) -> Side:
        self.writer.close()
        lengths = np.concatenate([np.empty(0, np.int64), *self.lengths])
        _, first = np.unique(self.all_hashes, return_index=True)
        bins = np.minimum(np.log2(np.maximum(lengths, 1)).astype(np.int64), LENGTH_BINS - 1)
        return Side(
            tokens=int(lengths.sum()),
            documents=lengths.size,
            bytes=self.bytes,
            unique_documents=first.size,
            unique_tokens=int(lengths[first].sum()),
            shards=tuple(self.writer.shards),
            largest_token_id=self.largest,
            documents_by_length=tuple(np.bincount(bins, minlength=LENGTH_BINS).tolist()),
            tokens_by_length=tuple(np.bincount(bins, lengths, LENGTH_BINS).astype(np.int64).tolist()),
        )

    @property
    def all_hashes(self) -> NDArray[np.uint64]:
        return np.concatenate([np.empty(0, np.uint64), *self.hashes])


def _write(
    streams: dict[str, Stream],
    found: dict[str, _Found],
    side: dict[str, NDArray[np.int8]],
    tokenizer: Tokenizer,
    stage: Path,
    report: Progress,
) -> tuple[list[_Tally], Entropies]:
    sizes, counts = token_bytes(tokenizer)[0], Counts(tokenizer.vocabulary_size)
    tallies = [_Tally(ShardWriter(stage, name, tokenizer.dtype), sizes) for name in SIDES]
    done, total = 0, sum(stream.tokens for stream in streams.values()) / MEGABYTE
    with ExitStack() as failing:
        for tally in tallies:
            failing.callback(tally.writer.abandon)
        for name, stream in streams.items():
            for tokens, first, last, begun in _documents(stream, found[name].lengths, tokenizer.separator_id):
                _place(tokens, found[name].lengths, side[name], (first, last, begun), tallies, counts)
                done += tokens.size
                report("writing", min(done / MEGABYTE, total), total)
        for tally in tallies:
            tally.writer.close()
        report("counting", 0, 0)
    return tallies, counts.entropies()


def _documents(
    stream: Stream, lengths: NDArray[np.int64], separator: int
) -> Iterator[tuple[NDArray[np.generic], int, int, int]]:
    """Blocks of tokens, the first document they hold some of, the first that they do not end, and how many tokens of
    the first document came before."""
    ends, position, first = np.cumsum(lengths), 0, 0
    for block in stream.ended(separator)[0]:
        last = int(np.searchsorted(ends, position + block.size, side="right"))
        begun = position - int(ends[first] - lengths[first])
        yield block, first, last, begun
        position, first = position + block.size, last


def _place(
    tokens: NDArray[np.generic],
    lengths: NDArray[np.int64],
    side: NDArray[np.int8],
    where: tuple[int, int, int],
    tallies: list[_Tally],
    counts: Counts,
) -> None:
    """Write one block to the sides that its documents belong to, and count it."""
    first, last, begun = where
    here = lengths[first:last].copy()  # of each document that ends in this block, the tokens in it
    if here.size:
        here[0] -= begun
    tail = tokens.size - int(here.sum())  # tokens of the document that goes on
    parts = np.append(here, tail) if tail else here
    of_part = side[first : first + parts.size]
    hashes = _hashes(tokens, parts, begun)
    for which, tally in enumerate(tallies):
        mine = of_part == which
        chosen = tokens if mine.all() else tokens[np.repeat(mine, parts)]
        ended = here[mine[: here.size]]
        num_ended = int(ended.sum())
        if ended.size:
            tally.writer.add(chosen[:num_ended], ended)
        if chosen.size > num_ended:
            tally.writer.begin(chosen[num_ended:])
        tally.add(chosen)
        if which == TRAIN:
            counts.add(chosen)
        _count_documents(
            tally, lengths[first:last][mine[: here.size]], hashes[mine], bool(mine.size and mine[0]), where
        )


def _count_documents(
    tally: _Tally, whole: NDArray[np.int64], hashes: NDArray[np.uint64], goes_on: bool, where: tuple[int, int, int]
) -> None:
    """Lengths of the documents that ended, and hashes of their tokens, of which each part adds its own."""
    if goes_on and where[2] and hashes.size:
        tally.hashes[-1][-1:] += hashes[:1]
        hashes = hashes[1:]
    if hashes.size:
        tally.hashes.append(hashes)
    tally.lengths.append(whole)


def _hashes(tokens: NDArray[np.generic], parts: NDArray[np.int64], begun: int) -> NDArray[np.uint64]:
    """(parts,) the sum over its tokens of 64 mixed bits of each token and its place in its document."""
    starts = np.cumsum(parts) - parts
    place = np.arange(tokens.size, dtype=np.uint64) - np.repeat(starts, parts).astype(np.uint64)
    place[: parts[0]] += np.uint64(begun)
    bits = mixed(tokens.astype(np.uint64) + (place + np.uint64(1)) * GOLDEN)
    return np.add.reduceat(bits, starts)


def _split_facts(streams: dict[str, Stream], sides: list[Side], val_share: float) -> SplitFacts:
    if "val" in streams:
        share = sides[VAL].tokens / (sides[TRAIN].tokens + sides[VAL].tokens)
        return SplitFacts("as the files were given: train and val by their names", "file", share)
    rule = "whole documents of the train files, in an order drawn by the seed, until validation has its share"
    return SplitFacts(rule, "document", val_share, sides[TRAIN].documents, sides[VAL].documents)


def _inputs(streams: dict[str, Stream], found: dict[str, _Found]) -> Iterator[Input]:
    """rows: the documents of a side, told at its first file, as a document may lie over two."""
    for name, stream in streams.items():
        for i, part in enumerate(stream.parts):
            yield Input(str(part.path), part.path.stat().st_size, 0 if i else int(found[name].lengths.size))


def _warnings(
    files: dict[str, list[Path]], found: dict[str, _Found], tallies: list[_Tally], tokenizer: Tokenizer
) -> Iterable[str]:
    for name, each in found.items():
        path = files[name][0] if len(files[name]) == 1 else f"{files[name][0]} ... {files[name][-1].name}"
        if each.no_separator:
            yield (
                f"{path} has no separator (token {tokenizer.separator_id}) anywhere, so all of it counts as one "
                "document: documents cannot be counted, compared or shuffled; one separator was added at its end"
            )
        elif each.added:
            yield f"{path} does not end with a separator, as a file that was cut off; one was added"
        empty = int((each.lengths == 1).sum())
        if empty:
            yield f"{path} has {empty:,} empty documents (a separator alone); they were kept"
    if not token_bytes(tokenizer)[1]:
        yield (
            f"bytes are an estimate from the lengths of the tokens, as {tokenizer.name} does not keep white space; "
            "so are bits per byte"
        )


def _split_warnings(streams: dict[str, Stream], sides: list[Side], tallies: list[_Tally]) -> Iterable[str]:
    both = int(np.isin(tallies[VAL].all_hashes, tallies[TRAIN].all_hashes).sum())
    if both:
        yield (
            f"{both:,} of {sides[VAL].documents:,} documents of validation stand in train too, token for token: "
            "its loss looks better than it is"
        )
    if "val" not in streams:
        yield (
            f"there was no val file, so {sides[VAL].documents:,} documents of train were set apart for validation: "
            "a model that was trained on all of train has seen them, and documents split one by one share passages"
        )
