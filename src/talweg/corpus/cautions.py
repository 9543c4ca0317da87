"""What a person should know before trusting the data: the warnings of a manifest."""

import math
from collections.abc import Iterator, Sequence

from talweg.corpus.manifest import Manifest
from talweg.corpus.plan import Options

FEW_VAL_TOKENS = 200_000
FEW_VAL_GROUPS = 5  # our choice
# Of passages of 13 tokens. Our choice: a random split of technical manuals shares 3.5 %, one by source package 0.4 %.
SHARED = 0.01
MOST_LOST = 5  # that are named one by one


def warnings(manifest: Manifest, options: Options, unfaithful: tuple[int, int], lost: Sequence[str]) -> Iterator[str]:
    """unfaithful: documents that differ after decoding, and documents tried. lost: what could not be read."""
    yield from (f"passed over, as it is damaged: {each}" for each in lost[:MOST_LOST])
    if len(lost) > MOST_LOST:
        yield f"and {len(lost) - MOST_LOST:,} more places were passed over as damaged"
    yield from _validation(manifest)
    if unfaithful[0]:
        yield (
            f"the tokenizer does not give back what it read: {unfaithful[0]} of {unfaithful[1]} documents differ "
            "after decoding, so bits per byte cannot be compared with other tokenizers"
        )
    size = manifest.tokenizer.vocabulary_size
    if options.tokenizer == "bpe" and size < options.vocabulary_size:
        yield (
            f"the tokenizer has {size:,} tokens, not {options.vocabulary_size:,}: "
            "the text has no more pairs that occur twice"
        )


def _validation(manifest: Manifest) -> Iterator[str]:
    tokens, split = manifest.val.tokens, manifest.split
    if tokens < FEW_VAL_TOKENS:
        low, high = (nats / math.sqrt(tokens / 1024) for nats in (0.5, 1.0))  # of one window of 1,024 tokens
        yield (
            f"validation has {tokens:,} tokens, under {FEW_VAL_TOKENS:,}: its loss level is uncertain by about "
            f"{low:.2f} to {high:.2f} nats (one standard error); a larger --val-share or more text helps"
        )
    if split.val_groups < FEW_VAL_GROUPS:
        yield (
            f"validation is {split.val_groups} whole groups (by {split.group_by}): its loss says little of others, "
            "and less than its tokens suggest; a larger --val-share helps"
        )
    overlap = manifest.overlap
    if overlap is not None and overlap.ngrams_in_train > SHARED * overlap.ngrams:
        yield (
            f"{overlap.ngrams_in_train / overlap.ngrams:.1%} of validation's passages of {overlap.ngram} tokens stand "
            "in train too, so its loss is better than on new text; training logs val_loss_clean beside it, over "
            "documents that share none"
        )
    if split.group_by == "text":
        yield (
            "the split is by document, as no column groups the text finely enough: passages that documents share "
            "may stand on both sides and make validation look better than it is"
        )
