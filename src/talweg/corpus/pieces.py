"""Many documents to tokens at once: every distinct piece of text is encoded once, and looked up after that.

GPT-2's word pattern always starts a new word at white space that follows a printable ASCII character, and nothing
before that place changes what comes after it. So a text may be cut there, its pieces encoded one by one, and the tokens
joined: the result is the same. Pieces such as " of the" or ",\\n" recur so often that some megabytes of text
hold only a tenth as much in distinct pieces. Those are joined and encoded in one go; where each ends among the tokens
is found from how many bytes a token stands for.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import parquet

# Of each byte: 1 where it is white space, 2 where it is printable ASCII, else 0.
WHITE, PRINTABLE = 1, 2
KIND = np.zeros(256, dtype=np.uint8)
KIND[list(b" \t\n\r\f\v")] = WHITE
KIND[0x21:0x7F] = PRINTABLE

Encode = Callable[[Sequence[str]], list[NDArray[Any]]]


def encode(
    data: NDArray[np.uint8],
    ends: NDArray[np.int64],
    separator: int,
    token_bytes: NDArray[np.int64],
    encode_texts: Encode,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Tokens of documents of UTF-8, and how many each has; a separator ends each and is counted.

    data, ends (documents + 1,): document d is data[ends[d] : ends[d + 1]]. token_bytes (V,): bytes of each token.
    Raises UnicodeDecodeError for bytes that are no UTF-8.
    """
    starts = _cuts(data, ends)
    distinct, piece = _distinct(data, np.append(starts, ends[-1]))  # texts; which of them each piece is
    tokens, counts = _tokens_of(distinct, token_bytes, encode_texts)
    after = np.searchsorted(starts, ends[1:])  # where, among the pieces, a document is over
    piece = np.insert(piece, after, len(counts))
    tokens, counts = np.append(tokens, tokens.dtype.type(separator)), np.append(counts, 1)
    lengths = counts[piece]
    until = np.cumsum(lengths)
    begin = np.cumsum(counts) - counts
    index = np.arange(int(until[-1])) + np.repeat(begin[piece] - (until - lengths), lengths)
    document_ends = until[after + np.arange(after.size)]
    return tokens[index], np.diff(document_ends, prepend=0)


def _cuts(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where pieces begin: at each document that is not empty, and at white space after printable ASCII."""
    first, last = int(ends[0]), int(ends[-1])
    kind = KIND[data[first:last]]
    cuts = np.zeros(last - first, dtype=bool)
    cuts[1:] = (kind[1:] == WHITE) & (kind[:-1] == PRINTABLE)
    begins = ends[:-1][np.diff(ends) > 0]
    cuts[begins - first] = True
    return np.flatnonzero(cuts) + first


def _distinct(data: NDArray[np.uint8], bounds: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
    """The distinct pieces between these bounds as an Arrow array, and for each piece which of them it is."""
    import pyarrow as pa

    buffers = [None, pa.py_buffer(np.ascontiguousarray(bounds)), pa.py_buffer(data)]
    encoded = pa.Array.from_buffers(pa.large_binary(), bounds.size - 1, buffers).dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)


def _tokens_of(
    distinct: Any, token_bytes: NDArray[np.int64], encode_texts: Encode
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The tokens of each distinct piece, one after another, and how many each has."""
    import pyarrow as pa

    data, bounds = parquet.raw(distinct)
    # A piece that begins with white space and ends in printable ASCII may stand beside others of its kind.
    may_join = (KIND[data[bounds[:-1]]] == WHITE) & (KIND[data[bounds[1:] - 1]] == PRINTABLE)
    joined, joined_bounds = parquet.raw(distinct.filter(pa.array(may_join)))
    text = joined[: joined_bounds[-1]].tobytes().decode("utf-8")
    alone = [piece.decode("utf-8") for piece in distinct.filter(pa.array(~may_join)).to_pylist()]
    stream, *others = encode_texts([text, *alone])
    reached = np.cumsum(token_bytes[stream])  # bytes up to the end of each token
    last = np.searchsorted(reached, joined_bounds[1:] - joined_bounds[0])
    assert np.array_equal(reached[last], joined_bounds[1:] - joined_bounds[0]), "a token lies over a cut"
    counts = np.empty(len(distinct), dtype=np.int64)
    counts[may_join] = np.diff(last + 1, prepend=0)
    counts[~may_join] = [tokens.size for tokens in others]
    tokens = np.empty(int(counts.sum()), dtype=stream.dtype)
    from_stream = np.repeat(may_join, counts)
    tokens[from_stream] = stream
    if others:
        tokens[~from_stream] = np.concatenate(others)
    return tokens, counts
