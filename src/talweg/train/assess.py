"""What a trained model makes of a whole text: its loss, by place in the window, and by how common a token is.

Axes: W windows, S positions of a window, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import manifest as manifests
from talweg.corpus.manifest import Manifest
from talweg.corpus.shards import Split, open_split
from talweg.errors import InputError
from talweg.estimate import Estimate
from talweg.train import details, evaluate, hardware
from talweg.train.details import Bin, Documents
from talweg.train.exchange.opening import LoadedModel, open_model
from talweg.train.ranks import Ranks

COUNTED = 50_000_000  # training tokens whose frequencies are counted at most: the rarest bins need no more
BARS = 24  # characters of the longest bar
FIRST, STEP = 0.02, 0.05  # of the windows: the first part that is computed, and each after it, for the progress


@dataclass(frozen=True)
class Assessment:
    """Losses in nats per token with 80 % intervals over documents; `clean`: documents without a 13-gram of train."""

    source: str
    data: str
    tokens: int
    documents: int
    loss: Estimate | None  # None: one document has no interval, see `value`
    value: float
    bits_per_byte: Estimate | None
    bits_per_byte_value: float
    clean: Estimate | None
    clean_share: float | None
    by_position: tuple[Bin, ...]
    by_frequency: tuple[Bin, ...]
    counted_tokens: int  # of the training text, for by_frequency


def assess(
    path: Path,
    data: Path | None = None,
    *,
    tokenizer: str | None = None,
    context: int | None = None,
    average: bool = False,
    device: str = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    progress: Callable[[str, float, float], None] = lambda stage, done, total: None,
) -> tuple[Assessment, Documents]:
    """Evaluate a checkpoint of any known kind on the whole validation text of a prepared folder.

    data: None: the folder that the run was trained on. context: None: the model's own; shorter is allowed.
    average: the moving average of the weights in place of the weights.
    Raises InputError when model and data do not fit together.
    """
    loaded = open_model(path, tokenizer, average=average)
    folder = data or loaded.data
    if folder is None:
        raise InputError(f"{path} does not say on which data it was trained; give --data, a folder of talweg prepare")
    manifest = manifests.read(folder)
    _check(loaded, manifest, folder)
    model = loaded.model.to(place := hardware.found(device))
    longest = model.shape.context
    if context is not None and not 1 <= context <= longest:
        raise InputError(f"--context {context}: the model was trained with {longest}; give 1 to {longest}")
    split = open_split(folder, "val")
    text = evaluate.text(split, context or longest, len(split.tokens))
    losses = np.zeros(text.inputs.shape)
    for rows in _parts(len(text.inputs)):
        part = evaluate.Text(text.inputs[rows], text.targets[rows], text.document[rows])
        losses[rows] = evaluate.token_losses(
            model, part, Ranks(device=place), lambda: hardware.autocast(place, precision)
        )
        progress("evaluating", rows.stop, len(text.inputs))
    return _assessment(loaded, manifest, folder, text, losses)


def _check(loaded: LoadedModel, manifest: Manifest, folder: Path) -> None:
    """The token ids of the text must mean the same to the model."""
    if loaded.tokenizer is not None and loaded.tokenizer.sha256 != manifest.tokenizer.sha256:
        raise InputError(
            f"{loaded.source} was trained with the tokenizer {loaded.tokenizer.name}, {folder} is made with another, "
            f"{manifest.tokenizer.name}; prepare the text with the model's tokenizer"
        )
    if manifest.tokenizer.vocabulary_size > loaded.model.shape.vocabulary_size:
        raise InputError(
            f"{loaded.source} knows {loaded.model.shape.vocabulary_size:,} tokens, {folder} has "
            f"{manifest.tokenizer.vocabulary_size:,}; prepare the text with the model's tokenizer"
        )


def _parts(number: int) -> list[slice]:
    edges = np.unique(np.concatenate([np.arange(FIRST, 1.0, STEP), [1.0]]) * number).astype(int)
    edges = np.unique(np.append(edges, [0, number]))
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def _assessment(
    loaded: LoadedModel, manifest: Manifest, folder: Path, text: evaluate.Text, losses: NDArray[np.float64]
) -> tuple[Assessment, Documents]:
    counted = text.targets >= 0
    found = evaluate.mean_loss(losses, text)
    documents = details.by_document(losses, text.document, counted)
    counts, total = token_counts(open_split(folder, "train"), loaded.model.shape.vocabulary_size)
    per_byte = evaluate.bits_per_byte(1.0, manifest.val.tokens, manifest.val.bytes)
    loss = _estimate(found)
    return (
        Assessment(
            source=loaded.source,
            data=str(folder),
            tokens=int(counted.sum()),
            documents=documents.number.size,
            loss=loss,
            value=found.value,
            bits_per_byte=Estimate(loss.value * per_byte, loss.low * per_byte, loss.high * per_byte) if loss else None,
            bits_per_byte_value=found.value * per_byte,
            clean=_estimate(found.clean) if found.clean else None,
            clean_share=text.clean_share,
            by_position=tuple(details.by_position(losses, counted)),
            by_frequency=tuple(details.by_frequency(losses, text.targets, counts)),
            counted_tokens=total,
        ),
        documents,
    )


def _estimate(loss: evaluate.Loss) -> Estimate | None:
    return None if np.isnan(loss.standard_error) else Estimate.normal(loss.value, loss.standard_error)


def token_counts(split: Split, vocabulary_size: int) -> tuple[NDArray[np.int64], int]:
    """(V,) how often each token stands in the text, and of how many tokens: the first COUNTED of each shard's share."""
    counts, total = np.zeros(vocabulary_size, dtype=np.int64), 0
    shards = split.shards()
    for tokens, _ in shards:
        part = tokens[: COUNTED // len(shards)]
        counts += np.bincount(part, minlength=vocabulary_size)
        total += len(part)
    return counts, total


def to_json(found: Assessment) -> dict[str, Any]:
    """The assessment by the same names; an interval that is not known is null."""

    def interval(value: Estimate | None) -> dict[str, float] | None:
        return None if value is None else {"value": value.value, "low": value.low, "high": value.high}

    def bins(values: tuple[Bin, ...]) -> list[dict[str, float]]:
        return [{"low": b.low, "high": b.high, "tokens": b.tokens, "nats": b.nats} for b in values]

    return {
        "checkpoint": found.source,
        "data": found.data,
        "tokens": found.tokens,
        "documents": found.documents,
        "val_loss": interval(found.loss) or {"value": found.value, "low": None, "high": None},
        "bits_per_byte": interval(found.bits_per_byte)
        or {"value": found.bits_per_byte_value, "low": None, "high": None},
        "val_loss_clean": interval(found.clean),
        "clean_share": found.clean_share,
        "by_position": bins(found.by_position),
        "by_frequency": bins(found.by_frequency),
        "counted_tokens": found.counted_tokens,
    }


def to_text(found: Assessment) -> str:
    """What a person sees."""

    def line(value: Estimate | None, plain: float) -> str:
        return f"{plain:.4f}" if value is None else f"{value.value:.4f}   80 %: {value.low:.4f}-{value.high:.4f}"

    lines = [
        f"{found.source} on {found.data}: {found.tokens:,} tokens of {found.documents:,} documents",
        "",
        f"  val loss        {line(found.loss, found.value)}   nats a token",
        f"  bits per byte   {line(found.bits_per_byte, found.bits_per_byte_value)}",
    ]
    if found.clean is not None:
        what = f"the {found.clean_share:.0%} of the tokens whose documents share no passage with train"
        lines.append(f"  val loss clean  {line(found.clean, found.clean.value)}   {what}")
    places = [(_range(b.low + 1, b.high + 1), b) for b in found.by_position]
    lines += ["", *_bars("tokens seen", places), ""]
    total = sum(b.nats * b.tokens for b in found.by_frequency)
    lines += _bars("in train", [(_range(b.low, b.high), b) for b in found.by_frequency], total)
    return "\n".join(
        [*lines, "", f"  in train: how often its {found.counted_tokens:,} tokens hold the token to be predicted"]
    )


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _bars(title: str, rows: list[tuple[str, Bin]], total: float | None = None) -> list[str]:
    """A table: what each row is, nats a token, the share of all nats where their sum is given, and a bar."""
    most = max((b.nats for _, b in rows), default=1.0)
    width = max([len(title), *(len(name) for name, _ in rows)])
    lines = [f"  {title:>{width}}     nats" + ("   share" if total else "")]
    for name, b in rows:
        share = f"  {b.nats * b.tokens / total:6.1%}" if total else ""
        lines.append(f"  {name:>{width}}  {b.nats:7.3f}{share}  {'█' * max(round(BARS * b.nats / most), 0)}")
    return lines
