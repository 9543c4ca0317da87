"""The text that is given: parquet, jsonl and plain text, local or behind any fsspec URL, as batches of documents.

`find` names the files and the pieces that can be read by themselves, `read` reads one piece.
"""

from talweg.corpus.inputs.locate import OnDamage, find, read
from talweg.corpus.inputs.source import BATCH_BYTES, BATCH_ROWS, STRETCH, TEXT_COLUMNS, Batch, Piece, Source

__all__ = [
    "BATCH_BYTES",
    "BATCH_ROWS",
    "STRETCH",
    "TEXT_COLUMNS",
    "Batch",
    "OnDamage",
    "Piece",
    "Source",
    "find",
    "read",
]
