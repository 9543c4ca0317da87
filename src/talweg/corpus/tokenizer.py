"""Text to tokens and back. Special tokens in a text are never special: they are text like any other.

Three engines stand behind one `Tokenizer`: raw bytes, fastokens for every byte-level BPE (ours and GPT-2's), and HF
tokenizers for any other tokenizer.json. Whatever its origin, a tokenizer is one file, tokenizer.json, that HF
tokenizers can read.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from talweg.corpus import byte_level
from talweg.corpus.byte_level import SEPARATOR
from talweg.corpus.manifest import TOKENIZER_FILE
from talweg.errors import InputError
from talweg.files import write_text

GPT2_RANKS_SHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"  # of r50k_base.tiktoken
GPT2_SHA256 = (
    "437e4acbbb82c13a6e94c8cf38f88adfd2b1aa30d6d3f74ce250c80c2e65daf2"  # of the tokenizer.json that we write for it
)
BYTES_SHA256 = "fe3305a0b9ea8a89182546ff2d81082687131bf4b587dcee0e2268d126abf9c9"  # of the one for raw bytes
# Tokens that other tokenizers end a document with, the most usual first.
SEPARATORS = (SEPARATOR, "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[SEP]")


class _Engine(Protocol):
    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[Any]]: ...

    def encode_documents(
        self, data: NDArray[np.uint8], ends: NDArray[np.int64], separator: int
    ) -> tuple[NDArray[Any], NDArray[np.int64]]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """name: "bpe", "gpt2", "bytes" or the name of the file; source: the text of its tokenizer.json."""

    name: str
    source: str
    vocabulary_size: int  # the separator is counted
    separator_id: int  # stands after each document

    @cached_property
    def _engine(self) -> _Engine:
        content = json.loads(self.source)
        ranks = byte_level.ranks_of(content)
        if ranks is None:
            return _HuggingFace(content)
        return _Bytes() if self.name == "bytes" else _ByteLevel(ranks, self.source)

    @property
    def sha256(self) -> str:
        """Of tokenizer.json."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every token: uint16 or uint32."""
        return np.dtype(np.uint16 if self.vocabulary_size <= 2**16 else np.uint32)

    def encode(self, text: str) -> NDArray[Any]:
        """The tokens of a text, without a separator: (T,) of `dtype`."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """As `encode`, of each text."""
        return [self._checked(tokens) for tokens in self._engine.encode_batch(texts)]

    def encode_documents(
        self, data: NDArray[np.uint8], ends: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The (T,) tokens of many documents with a separator after each, and the (documents,) tokens of each.

        Document d is the UTF-8 bytes data[ends[d] : ends[d + 1]]. Other threads run meanwhile. Raises
        UnicodeDecodeError for bytes that are no UTF-8.
        """
        tokens, lengths = self._engine.encode_documents(data, ends, self.separator_id)
        return self._checked(tokens), lengths

    def _checked(self, tokens: NDArray[Any]) -> NDArray[Any]:
        assert not tokens.size or int(tokens.max()) < self.vocabulary_size, "a token outside the vocabulary"
        return tokens.astype(self.dtype, copy=False)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of these tokens; a separator reads <|endoftext|>, bytes that are no UTF-8 read U+FFFD."""
        documents: list[list[int]] = [[]]
        for token in ids:
            if token == self.separator_id:
                documents.append([])
            else:
                documents[-1].append(int(token))
        return SEPARATOR.join(self._engine.decode(document) if document else "" for document in documents)

    def save(self, folder: Path) -> None:
        write_text(folder / TOKENIZER_FILE, self.source)


class _Bytes:
    """A token for each byte, its value the byte's."""

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        return [np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8) for text in texts]

    def encode_documents(
        self, data: NDArray[np.uint8], ends: NDArray[np.int64], separator: int
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        first, last = int(ends[0]), int(ends[-1])
        data[first:last].tobytes().decode("utf-8")
        return np.insert(data[first:last].astype(np.uint16), ends[1:] - first, separator), np.diff(ends) + 1

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")


class _ByteLevel:
    """Byte-level BPE by fastokens, or by tiktoken, a tenth as fast, on machines that fastokens has no wheel for."""

    def __init__(self, ranks: dict[bytes, int], source: str) -> None:
        self._ranks, self._source = ranks, source

    @cached_property
    def _bytes_of(self) -> dict[int, bytes]:
        return {rank: token for token, rank in self._ranks.items()}

    @cached_property
    def _encode(self) -> Callable[[list[str]], tuple[NDArray[np.uint32], NDArray[np.int64]]]:
        """The (T,) tokens of texts, one after another, and where each text begins and the last one ends."""
        try:
            from fastokens import Tokenizer as FastTokenizer
        except ModuleNotFoundError:
            return self._by_tiktoken
        engine = FastTokenizer.from_json_str(self._source)

        def by_fastokens(texts: list[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
            tokens, ends = engine.encode_batch_flat(texts, split_special_tokens=True)
            return np.frombuffer(tokens, dtype="<u4"), np.frombuffer(ends, dtype="<u8").astype(np.int64)

        return by_fastokens

    @cached_property
    def _tiktoken(self) -> Any:
        from tiktoken import Encoding

        return Encoding("talweg", pat_str=byte_level.WORDS, mergeable_ranks=self._ranks, special_tokens={})

    @cached_property
    def _patient(self) -> "_HuggingFace":
        return _HuggingFace(json.loads(self._source))

    def _by_tiktoken(self, texts: list[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        parts: list[NDArray[Any]] = []
        for text in texts:
            try:
                parts.append(self._tiktoken.encode_to_numpy(text, disallowed_special=()))
            except ValueError:  # its regex gives up on a very long stretch of white space
                parts += self._patient.encode_batch([text])
        return np.concatenate([np.empty(0, np.uint32), *parts]), np.cumsum([0, *(part.size for part in parts)])

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        tokens, ends = self._encode([text.encode("utf-8", "replace").decode("utf-8") for text in texts])
        return [tokens[start:end] for start, end in pairwise(ends.tolist())]

    def encode_documents(
        self, data: NDArray[np.uint8], ends: NDArray[np.int64], separator: int
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        tokens, token_ends = self._encode(_texts(data, ends))
        lengths = np.diff(token_ends) + 1
        joined = np.empty(tokens.size + lengths.size, dtype=np.uint32)
        is_text = np.ones(joined.size, dtype=bool)
        is_text[np.cumsum(lengths) - 1] = False
        joined[is_text], joined[~is_text] = tokens, separator
        return joined, lengths

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join([self._bytes_of[token] for token in ids]).decode("utf-8", "replace")


class _HuggingFace:
    def __init__(self, content: Mapping[str, Any]) -> None:
        from tokenizers import Tokenizer as HuggingFaceTokenizer

        self._tokenizer = HuggingFaceTokenizer.from_str(json.dumps(_without_special(content)))

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        valid = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]  # no halves of surrogate pairs
        batch = self._tokenizer.encode_batch_fast(valid, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.uint32) for encoding in batch]

    def encode_documents(
        self, data: NDArray[np.uint8], ends: NDArray[np.int64], separator: int
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        documents = [np.append(tokens, np.uint32(separator)) for tokens in self.encode_batch(_texts(data, ends))]
        return np.concatenate(documents), np.array([tokens.size for tokens in documents], dtype=np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))


def _texts(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[str]:
    """The documents of UTF-8 between these ends. Raises UnicodeDecodeError."""
    whole = data[ends[0] : ends[-1]].tobytes()
    bounds = (ends - ends[0]).tolist()
    return [whole[start:end].decode("utf-8") for start, end in pairwise(bounds)]


def given(name: str) -> Tokenizer:
    """gpt2, bytes, or the tokenizer of a file. Raises InputError when it is none of them."""
    if name == "gpt2":
        return gpt2()
    if name == "bytes":
        return raw_bytes()
    if not Path(name).exists():
        raise InputError(f"{name} is no tokenizer: give bpe, gpt2, bytes, or the path of a tokenizer.json")
    return from_file(Path(name))


def load(folder: Path) -> Tokenizer:
    """The tokenizer of a data folder or a run folder. Raises InputError where there is none that can be read.

    Reading a large one takes a third of a second, so it is kept while its file stays as it is.
    """
    path = Path(folder) / TOKENIZER_FILE
    stamp = path.stat() if path.is_file() else None
    return _kept(path, stamp.st_mtime_ns, stamp.st_size) if stamp else from_file(path)


@lru_cache(maxsize=4)
def _kept(path: Path, changed: int, size: int) -> Tokenizer:
    return from_file(path)


def from_file(path: Path) -> Tokenizer:
    """A tokenizer.json of HF tokenizers, or GPT-2's ranks as tiktoken keeps them (r50k_base.tiktoken).

    Raises InputError when the file is missing or holds neither.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "it is no file"
        raise InputError(f"{path} cannot be read: {reason}; needed a tokenizer.json or a .tiktoken file") from None
    if path.suffix == ".tiktoken":
        if hashlib.sha256(raw).hexdigest() != GPT2_RANKS_SHA256:
            raise InputError(
                f"{path} does not hold GPT-2's ranks (r50k_base); give another tokenizer as tokenizer.json"
            )
        lines = (line.split() for line in raw.splitlines())
        return _of_ranks({base64.b64decode(token): int(rank) for token, rank in lines})
    try:
        source = raw.decode("utf-8")
        content = json.loads(source)
    except ValueError:
        raise InputError(f"{path} is cut off or no JSON; needed a tokenizer.json of HF tokenizers") from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict) or "vocab" not in content["model"]:
        raise InputError(f"{path} is no tokenizer.json of HF tokenizers: it has no model with a vocabulary")
    plain = _without_special(content)
    ranks = byte_level.ranks_of(plain)
    if ranks is not None:
        vocabulary = plain["model"]["vocab"]
        return _of_ranks(ranks) if SEPARATOR not in vocabulary else _of_content(plain)
    try:
        _HuggingFace(content)
    except Exception as error:  # the library raises no narrower type
        raise InputError(f"{path} is no tokenizer.json that HF tokenizers can read: {error}") from None
    return _foreign(source, content)


def gpt2() -> Tokenizer:
    """GPT-2's tokenizer, by tiktoken's download or from its cache. Raises InputError when it cannot be had."""
    from tiktoken import get_encoding

    try:
        ranks = get_encoding("r50k_base")._mergeable_ranks  # the ranks of "gpt2" under the name of one smaller file
    except Exception as error:  # of requests, of the file system, or a wrong hash: all mean that it is not there
        raise InputError(
            f"GPT-2's tokenizer could not be downloaded ({type(error).__name__}); give its file: "
            "--tokenizer r50k_base.tiktoken or tokenizer.json"
        ) from None
    return _of_ranks(ranks)


def raw_bytes() -> Tokenizer:
    """256 bytes and a separator."""
    return _of_ranks({bytes([byte]): byte for byte in range(256)})


def trained(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """A byte-level BPE trained on these texts; smaller than asked for where they have too few repeated pairs."""
    return _of_content(byte_level.train(texts, vocabulary_size))


def _of_ranks(ranks: Mapping[bytes, int]) -> Tokenizer:
    return _of_content(byte_level.of_ranks(ranks))


def _of_content(content: Mapping[str, Any]) -> Tokenizer:
    """A byte-level BPE, in the one way its file is written."""
    vocabulary = content["model"]["vocab"]
    content = byte_level.document(vocabulary, content["model"]["merges"])
    source = json.dumps(content, ensure_ascii=False) + "\n"
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    name = {GPT2_SHA256: "gpt2", BYTES_SHA256: "bytes"}.get(sha256, "bpe")
    return Tokenizer(name, source, max(vocabulary.values()) + 1, vocabulary[SEPARATOR])


def _foreign(source: str, content: Mapping[str, Any]) -> Tokenizer:
    """Any other tokenizer.json; one that ends no document gets one token more."""
    vocabulary = content["model"]["vocab"]
    if not isinstance(vocabulary, Mapping):  # Unigram lists tokens with their scores
        vocabulary = {token: i for i, (token, _) in enumerate(vocabulary)}
    ids = {**vocabulary, **{token["content"]: token["id"] for token in content.get("added_tokens") or []}}
    size = max(ids.values()) + 1
    separator = next((ids[name] for name in SEPARATORS if name in ids), size)
    return Tokenizer(content["model"].get("type", "tokenizer").lower(), source, max(size, separator + 1), separator)


def _without_special(content: Mapping[str, Any]) -> dict[str, Any]:
    """The tokenizer without what it treats as special: tokens recognised inside text, additions at its ends."""
    kept = [token for token in content.get("added_tokens") or [] if not token.get("special")]
    return {**content, "added_tokens": kept, "truncation": None, "padding": None, "post_processor": None}
