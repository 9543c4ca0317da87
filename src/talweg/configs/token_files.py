"""Token files that `talweg prepare` did not write: measured, since they state nothing."""

from pathlib import Path

from talweg.corpus import inspect
from talweg.corpus.inspect import files
from talweg.run import Facts

NAME = "token_files"


def sniff(path: Path, head: str) -> float:
    """Never: they are no text. `holds_tokens` knows them."""
    return 0.0


def read(path: Path) -> Facts:
    return measured(path)


def holds_tokens(path: Path) -> bool:
    return files.holds_tokens(path)


def measured(path: Path, tokenizer: str | None = None) -> Facts:
    """What a folder with train.bin and val.bin, or one such file, holds. Nothing is written beside them.

    tokenizer: gpt2, or a file. Raises InputError for what cannot be read.
    """
    found = inspect.inspect(path, tokenizer)
    part = "" if found.scanned == found.tokens else f", {found.scanned_share:.2g} of it scanned"
    kept, drift, repeated = found.context, found.drift, found.repeated_share
    return Facts.stated(
        f"measured on {Path(path).name or path} ({found.stored}{part})",
        train_tokens=float(found.tokens),
        unique_tokens=found.tokens * (1 - (repeated or 0.0)),  # at most: documents that nothing parts are not compared
        train_documents=found.documents,
        largest_token_id=found.largest_id,
        largest_storable_id=found.largest_storable_id,
        tokens_by_length=found.tokens_by_length,
        val_tokens=None if found.val_tokens is None else float(found.val_tokens),
        val_documents=found.val_documents,
        val_overlap_share=found.val_overlap_share,
        noisy_share=found.noisy_share,
        tokenizer=found.tokenizer,
        tokenizer_vocabulary=found.tokenizer_vocabulary,
        outside_vocabulary_share=found.outside_vocabulary_share,
        undecodable_share=found.undecodable_share,
        joinable_ratio=found.joinable_ratio,
        bytes_per_token=found.bytes_per_token,
        unigram_nats=found.unigram_nats,
        bigram_nats=found.bigram_nats,
        context_kept=None if kept is None else kept.value,
        context_kept_error=None if kept is None else kept.standard_error,
        context_border=None if kept is None else kept.border,
        border_tokens=None if kept is None else kept.spacing,
        order_drift_nats=None if drift is None else drift.nats,
    )
