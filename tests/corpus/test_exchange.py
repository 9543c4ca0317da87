"""Other trainers' formats: the bytes they expect, what comes back, and what is refused in a line."""

import io
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.corpus import manifest as manifests
from talweg.corpus import shards, tokenizer
from talweg.corpus.exchange import datatrove, export, holds_tokens, import_tokens, llmc, nanogpt, stream
from talweg.corpus.exchange.token_bytes import token_bytes
from talweg.corpus.manifest import Side, TokenizerFacts
from talweg.corpus.shards import ShardWriter, open_split
from talweg.corpus.tokenizer import Tokenizer
from talweg.errors import InputError
from tests.conftest import shared
from tests.corpus.test_manifest import MANIFEST

BYTES = tokenizer.raw_bytes()
END = BYTES.separator_id
TEXTS = {"train": ["one", "two two", "", "thrée", "one", "x" * 70], "val": ["val", "two two"]}


def stored(texts: list[str], before: bool = False) -> np.ndarray:
    """The tokens of these texts, a separator behind each, or before it."""
    parts = [np.array(([END] if before else []) + list(t.encode()) + ([] if before else [END])) for t in texts]
    return np.concatenate(parts).astype(np.uint16)


def data_folder(path: Path, texts: dict[str, list[str]] = TEXTS, shard_tokens: int = 12) -> Path:
    path.mkdir()
    sides = {}
    for name, each in texts.items():
        writer = ShardWriter(path, name, BYTES.dtype, shard_tokens)
        writer.add(stored(each), np.array([len(t.encode()) + 1 for t in each]))
        writer.close()
        sides[name] = Side(stored(each).size, len(each), 0, 0, 0, tuple(writer.shards))
    BYTES.save(path)
    facts = TokenizerFacts("bytes", BYTES.sha256, 257, END)
    manifests.write(path, replace(MANIFEST, tokenizer=facts, train=sides["train"], val=sides["val"]))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return data_folder(tmp_path / "data")


@pytest.fixture(params=[1, 3, 7, 1 << 22])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tokens held at once: the result must not depend on it."""
    monkeypatch.setattr(stream, "BLOCK", request.param)
    return int(request.param)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- out


def test_nanogpt_gets_the_tokens_and_nothing_else(data: Path, tmp_path: Path, block: int) -> None:
    exported = export(data, tmp_path / "out", to="nanogpt")
    found = files(tmp_path / "out")
    assert set(found) == {"train.bin", "val.bin", "meta.pkl", "tokenizer.json"}
    for name, texts in TEXTS.items():
        assert found[f"{name}.bin"] == stored(texts).astype("<u2").tobytes()
        assert exported.files[f"{name}.bin"] == stored(texts).size
    assert found["tokenizer.json"] == (data / "tokenizer.json").read_bytes()


def test_nanogpt_finds_in_meta_what_its_sample_looks_up(data: Path, tmp_path: Path) -> None:
    export(data, tmp_path / "out", to="nanogpt")
    meta = pickle.loads((tmp_path / "out" / "meta.pkl").read_bytes())
    assert meta["vocab_size"] == 257
    assert [meta["stoi"][c] for c in "a b\n"] == [97, 32, 98, 10]
    assert "".join(meta["itos"][i] for i in (104, 105, END)) == "hi<|endoftext|>"


def test_llmc_gets_headers_and_separators_in_front(data: Path, tmp_path: Path, block: int) -> None:
    export(data, tmp_path / "out", to="llmc")
    found = files(tmp_path / "out")
    assert set(found) == {"data_train_000000.bin", "data_val_000000.bin", "tokenizer.json"}
    for name, texts in TEXTS.items():
        raw = found[f"data_{name}_000000.bin"]
        header = np.frombuffer(raw[:1024], "<i4")
        expected = stored(texts, before=True)
        assert header.tolist() == [20240520, 1, expected.size] + [0] * 253
        assert np.frombuffer(raw[1024:], "<u2").tolist() == expected.tolist()


@pytest.mark.parametrize("size", [1, 2, 5, 13, 1000])
def test_llmc_shards_are_full_and_a_document_may_lie_over_two(
    data: Path, tmp_path: Path, size: int, block: int
) -> None:
    tokens = open_split(data, "train").tokens

    def blocks() -> Iterator[np.ndarray]:
        for first in range(0, len(tokens), stream.BLOCK):
            yield tokens[first : first + stream.BLOCK]

    written = llmc.export({"train": blocks}, tmp_path, BYTES, None, "x", shard_tokens=size)
    sizes = list(written.values())
    assert all(each == size for each in sizes[:-1])
    assert 0 < sizes[-1] <= size
    read = llmc.read([tmp_path / name for name in sorted(written)])
    assert np.concatenate([b for part in read.parts for b in part.blocks()]).tolist() == (
        stored(TEXTS["train"], before=True).tolist()
    )
    assert np.concatenate(list(read.ended(END)[0])).tolist() == stored(TEXTS["train"]).tolist()


def test_datatrove_gets_shards_without_their_headers(data: Path, tmp_path: Path, block: int) -> None:
    exported = export(data, tmp_path / "out", to="datatrove")
    found, side = files(tmp_path / "out"), manifests.read(data).train
    assert len(side.shards) > 1
    assert len(exported.files) == len(side.shards) + len(manifests.read(data).val.shards)
    for i, shard in enumerate(side.shards):
        name = f"train/{i:05d}_unshuffled.ds"
        assert found[name] == np.load(data / shard.file).astype("<u2").tobytes()
        assert found[f"{name}.index"] == np.load(data / shard.documents_file).astype("<u8").tobytes()
        assert (
            found[f"{name}.metadata"].decode()
            == f"tokenizer.json|2\n{shard.tokens}\n{datatrove.in_words(shard.tokens)}"
        )


@pytest.mark.parametrize(
    ("tokens", "text"),  # as humanize 4.17 prints them
    [
        (0, "0.00 T"),
        (1, "1.00 T"),
        (999, "999 T"),
        (1000, "1.00 kT"),
        (12345, "12.3 kT"),
        (99949, "99.9 kT"),
        (99950, "100 kT"),
        (999499, "999 kT"),
        (999999, "1.00 MT"),
        (123456789, "123 MT"),
        (1234567890123, "1.23 TT"),
    ],
)
def test_a_number_of_tokens_in_words(tokens: int, text: str) -> None:
    assert datatrove.in_words(tokens) == text


def test_uint32_where_it_is_asked_for(data: Path, tmp_path: Path) -> None:
    export(data, tmp_path / "n", to="nanogpt", dtype="uint32")
    assert (tmp_path / "n" / "train.bin").read_bytes() == stored(TEXTS["train"]).astype("<u4").tobytes()
    export(data, tmp_path / "l", to="llmc", dtype="uint32")
    raw = (tmp_path / "l" / "data_val_000000.bin").read_bytes()
    assert np.frombuffer(raw[:12], "<i4").tolist() == [20240801, 7, stored(TEXTS["val"]).size]
    assert np.frombuffer(raw[1024:], "<u4").tolist() == stored(TEXTS["val"], before=True).tolist()
    export(data, tmp_path / "d", to="datatrove", dtype="uint32")
    assert (tmp_path / "d/train/00000_unshuffled.ds.metadata").read_text().startswith("tokenizer.json|4\n")


def test_a_vocabulary_that_uint16_cannot_hold(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = Tokenizer("bpe", BYTES.source, 70_000, END)
    monkeypatch.setattr(tokenizer, "load", lambda _: large)
    with pytest.raises(InputError, match=r"nanoGPT reads uint16, .* has 70,000; give --dtype uint32 and change"):
        export(data, tmp_path / "out", to="nanogpt")
    with pytest.raises(InputError, match=r"70,000 tokens, and uint16 holds 65,536; give --dtype uint32"):
        export(data, tmp_path / "out", to="llmc", dtype="uint16")
    assert not any((tmp_path / "out").glob("*"))


def test_damaged_data_are_not_exported(data: Path, tmp_path: Path) -> None:
    path = data / manifests.read(data).train.shards[0].file
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"train-00000\.npy is not what was written: its sha256"):
        export(data, tmp_path / "out", to="nanogpt")
    assert not (tmp_path / "out").exists()


def test_verify_reads_every_file_and_names_the_one_that_is_missing(data: Path) -> None:
    total = sum(path.stat().st_size for path in data.iterdir() if path.name != "manifest.json")
    told: list[tuple[float, float]] = []
    assert shards.verify(data, lambda done, of: told.append((done, of))) == total
    assert told[-1] == (total, total)
    (data / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json is missing; the folder was changed"):
        shards.verify(data)


def test_nothing_is_written_over(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "train.bin").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"holds other files \(train\.bin\); give a folder that is empty"):
        export(data, out, to="nanogpt")
    assert files(out) == {"train.bin": b"mine"}


def test_an_export_that_fails_leaves_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nanogpt, "write", full)
    with pytest.raises(InputError, match="No space left on device; make room or give another --out"):
        export(data, tmp_path / "out", to="nanogpt")
    assert not (tmp_path / "out").exists()


# --- in


@pytest.mark.parametrize("to", ["nanogpt", "llmc"])
def test_what_was_exported_comes_back_byte_for_byte(data: Path, tmp_path: Path, to: str, block: int) -> None:
    export(data, tmp_path / "out", to=to)
    back = import_tokens([tmp_path / "out"], tmp_path / "back", tokenizer=BYTES)
    for name, texts in TEXTS.items():
        split, original = open_split(tmp_path / "back", name), open_split(data, name)  # type: ignore[arg-type]
        assert np.array_equal(split.tokens, original.tokens)
        assert split.document_ends.tolist() == original.document_ends.tolist()
        side = getattr(back, name)
        assert side.bytes == sum(len(t.encode()) for t in texts)
        assert (side.documents, side.unique_documents) == (len(texts), len(set(texts)))
        assert side.unique_tokens == sum(len(t.encode()) + 1 for t in set(texts))
        assert side.largest_token_id == END
        lengths = [len(t.encode()) + 1 for t in texts]
        assert side.documents_by_length[:8] == tuple(sum(2**k <= n < 2 ** (k + 1) for n in lengths) for k in range(8))
        assert sum(side.tokens_by_length) == sum(lengths)
    assert shards.verify(tmp_path / "back") > 0
    assert any("1 of 2 documents of validation stand in train too" in warning for warning in back.warnings)
    assert any("1 empty documents" in warning for warning in back.warnings)


def independent(name: str) -> tuple[float, float]:
    """Entropies in nats counted one by one."""
    tokens = stored(TEXTS[name]).tolist()
    pairs, firsts = Counter(pairwise(tokens)), Counter(tokens[:-1])
    singles = Counter(tokens)
    unigram = -sum(n / len(tokens) * np.log(n / len(tokens)) for n in singles.values())
    bigram = -sum(n / (len(tokens) - 1) * np.log(n / firsts[a]) for (a, _), n in pairs.items())
    return float(unigram), float(bigram)


def test_entropies_of_imported_tokens(tmp_path: Path, block: int) -> None:
    for name, texts in TEXTS.items():
        stored(texts).tofile(tmp_path / f"{name}.bin")
    manifest = import_tokens([tmp_path / "train.bin", tmp_path / "val.bin"], tmp_path / "d", tokenizer=BYTES)
    assert (manifest.unigram_nats, manifest.bigram_nats) == pytest.approx(independent("train"))
    assert manifest.bytes_per_token == manifest.train.bytes / manifest.train.tokens
    assert [each.rows for each in manifest.inputs] == [6, 2]


documents = st.lists(st.text(max_size=12), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None)
@given(train=documents, val=documents, size=st.integers(1, 9), to=st.sampled_from(["nanogpt", "llmc"]))
def test_any_documents_come_back(
    tmp_path_factory: pytest.TempPathFactory, train: list[str], val: list[str], size: int, to: str
) -> None:
    tmp, texts = tmp_path_factory.mktemp("any"), {"train": train, "val": val}
    data = data_folder(tmp / "data", {k: [t.encode("utf-8", "replace").decode() for t in v] for k, v in texts.items()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "BLOCK", size)
        export(data, tmp / "out", to=to)
        import_tokens([tmp / "out"], tmp / "back", tokenizer=BYTES)
    for name in ("train", "val"):
        before, after = open_split(data, name), open_split(tmp / "back", name)
        assert np.array_equal(before.tokens, after.tokens)
        assert before.document_ends.tolist() == after.document_ends.tolist()


def test_without_val_whole_documents_are_split_off(tmp_path: Path, block: int) -> None:
    texts = [f"document {i}" for i in range(200)]
    stored(texts).tofile(tmp_path / "train.bin")
    manifest = import_tokens([tmp_path / "train.bin"], tmp_path / "d", tokenizer=BYTES, val_share=0.1, seed=3)
    read = {}
    for name in ("train", "val"):
        split = open_split(tmp_path / "d", name)  # type: ignore[arg-type]
        read[name] = BYTES.decode(np.asarray(split.tokens).tolist()).split("<|endoftext|>")[:-1]
    assert sorted(read["train"] + read["val"]) == sorted(texts)
    assert read["train"] == sorted(read["train"], key=texts.index)  # in the order of the input
    assert len(read["val"]) == manifest.val.documents == pytest.approx(20, abs=2)
    assert "there was no val file" in manifest.warnings[-1]
    again = import_tokens([tmp_path / "train.bin"], tmp_path / "d", tokenizer=BYTES, val_share=0.1, seed=3)
    assert again == manifest  # over its own earlier folder


def test_a_file_without_separators_is_one_document(tmp_path: Path) -> None:
    np.frombuffer(b"no end", np.uint8).astype("<u2").tofile(tmp_path / "train.bin")
    np.frombuffer(b"nor here", np.uint8).astype("<u2").tofile(tmp_path / "val.bin")
    manifest = import_tokens([tmp_path], tmp_path / "d", tokenizer=BYTES)
    assert (manifest.train.documents, manifest.train.tokens, manifest.train.bytes) == (1, 7, 6)
    assert "has no separator (token 256) anywhere, so all of it counts as one document" in manifest.warnings[0]
    (tmp_path / "val.bin").unlink()
    with pytest.raises(InputError, match=r"is one document and there is no val file, .* give val\.bin"):
        import_tokens([tmp_path], tmp_path / "d2", tokenizer=BYTES)


def test_a_file_whose_last_document_is_cut_gets_its_separator(tmp_path: Path) -> None:
    for name in ("train", "val"):
        stored(["one", "two"])[:-1].tofile(tmp_path / f"{name}.bin")
    manifest = import_tokens([tmp_path], tmp_path / "d", tokenizer=BYTES)
    assert np.array_equal(open_split(tmp_path / "d", "train").tokens, stored(["one", "two"]))
    assert "does not end with a separator" in manifest.warnings[0]


def test_nanogpt_files_with_the_separator_first_are_seen_as_such(tmp_path: Path) -> None:
    for name, texts in TEXTS.items():
        stored(texts, before=True).tofile(tmp_path / f"{name}.bin")
    import_tokens([tmp_path], tmp_path / "d", tokenizer=BYTES)
    assert np.array_equal(open_split(tmp_path / "d", "train").tokens, stored(TEXTS["train"]))


def raw(*tokens: int) -> bytes:
    return np.array(tokens, "<u2").tobytes()


def header(magic: int = 20240520, version: int = 1, tokens: int = 3, tail: bytes = raw(256, 1, 2)) -> bytes:
    return np.array([magic, version, tokens] + [0] * 253, "<i4").tobytes() + tail


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.bin", b"", r"train\.bin is empty; needed tokens of uint16"),
        ("train.bin", b"abc", r"has 3 bytes, which is no whole number of uint16 tokens; it is cut off"),
        ("train.bin", raw(1, 300, 256), r"holds token 300, and the tokenizer \(bytes\) has 257; give the tokenizer"),
        ("train.bin", np.array([5, 6, 256], "<u4").tobytes(), "looks like uint32"),
        ("x_train_0.bin", raw(1, 2, 256), r"does not begin with llm\.c's magic number \(20240520 or 20240801, found"),
        ("x_train_0.bin", header(magic=20240522), "is a multiple-choice test of llm.c"),
        ("x_train_0.bin", header(version=2), "has version 2 of llm.c's format; needed 1"),
        ("x_train_0.bin", header(tokens=4), "promises 4 tokens of uint16, and 6 bytes follow it"),
        ("x_train_0.bin", header(tokens=2), "promises 2 tokens of uint16, and 6 bytes follow it"),
        ("x_train_0.bin", header(tokens=0, tail=b""), "promises 0 tokens"),
        ("x_train_0.bin", header()[:100], "is cut off: it ends within the header"),
        ("tokens.bin", raw(1, 256), "does not say what it is for; needed train or val in its name"),
        ("val.bin", raw(1, 256), "is for validation, and there is no train file; give it too"),
    ],
)
def test_what_cannot_be_tokens_is_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        import_tokens([source / name], tmp_path / "out", tokenizer=BYTES)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_tokens_a_missing_file_and_an_unknown_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.bin files"):
        import_tokens([tmp_path], tmp_path / "out", tokenizer=BYTES)
    with pytest.raises(InputError, match="is not there; give token files"):
        import_tokens([tmp_path / "train.bin"], tmp_path / "out", tokenizer=BYTES)
    (tmp_path / "train.bin").write_bytes(raw(1, 256))
    (tmp_path / "meta.pkl").write_bytes(b"not even looked at")
    with pytest.raises(InputError, match=r"tokenizer is not known \(meta\.pkl is a pickle, which is never read\)"):
        import_tokens([tmp_path], tmp_path / "out", tokenizer=None)


def test_which_inputs_are_tokens(tmp_path: Path) -> None:
    (tmp_path / "train.bin").touch()
    assert holds_tokens([tmp_path])
    assert holds_tokens([tmp_path / "train.bin", "val.bin"])
    assert not holds_tokens([tmp_path / "a.parquet"])
    (tmp_path / "a.parquet").touch()
    assert not holds_tokens([tmp_path])
    assert not holds_tokens([])


def test_bytes_of_tokens_are_those_of_the_text() -> None:
    gpt2 = tokenizer.from_file(shared("data/gpt2/r50k_base.tiktoken"))
    sizes, exact = token_bytes(gpt2)
    assert exact
    for text in ("Hello world", "naïve 漢字 🙂\n\n  x", "<|endoftext|>"):
        assert int(sizes[gpt2.encode(text)].sum()) == len(text.encode())
    assert sizes[gpt2.separator_id] == 0


def test_a_stream_is_cut_exactly_at_the_edges_of_its_blocks() -> None:
    tokens = np.arange(6, dtype=np.uint16)
    parts = [[b.tolist() for b in part] for part in stream.cut(iter(np.split(tokens, 3)), 2)]
    assert parts == [[[0, 1]], [[2, 3]], [[4, 5]]]
    written = io.BytesIO()
    assert stream.write(written, iter([tokens]), "uint32") == 6
    assert written.getvalue() == tokens.astype("<u4").tobytes()
    with pytest.raises(AssertionError, match="a token that does not fit"):
        stream.write(written, iter([np.array([65_536])]), "uint16")
