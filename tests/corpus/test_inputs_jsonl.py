"""JSON lines: what is a document, what is damage, and stretches that can be read apart."""

import bz2
import gzip
import json
import lzma
import random
from pathlib import Path

import pytest
import zstandard

from talweg.corpus import inputs
from talweg.corpus.inputs import locate, streams
from talweg.errors import InputError
from tests.corpus.reading import column, documents, tolerant

COMPRESSED = {
    ".gz": gzip.compress,
    ".zst": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    ".bz2": lambda data: bz2.compress(data, 1),
    ".xz": lzma.compress,
}


def stored(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def lines(*texts: str | None) -> bytes:
    return "".join(json.dumps({"text": text, "url": f"u{i}"}) + "\n" for i, text in enumerate(texts)).encode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"text": "a"}\n{"text": "b"}\n', ["a", "b"]),
        (b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  \n{"text": "b"}', ["a", "b"]),
        (b'{"text": null}\n{"text": ""}\n{"content": 3, "text": "c"}\n', ["", "", "c"]),
        (b'{"content": "a", "id": 1}\n{"content": "b", "tags": ["x"]}\n', ["a", "b"]),
        (b'{"text": "nul \\u0000 and \\ud83d\\ude00 and half \\ud83d"}', ["nul \0 and 😀 and half \ufffd"]),
        (b'{"text": "a", "meta": {"text": "within"}}\n{"text": "with \\"text\\" in it"}\n', ["a", 'with "text" in it']),
        (b'{"text": "caf\xe9"}\n', ["caf\ufffd"]),
        ('\ufeff{"text": "ü"}\n{"text": "b"}\n'.encode("utf-16-le"), ["ü", "b"]),
        ('\ufeff{"text": "ü"}\n{"text": "b"}\n'.encode("utf-16-be"), ["ü", "b"]),
    ],
)
def test_what_a_document_is(tmp_path: Path, content: bytes, expected: list[str]) -> None:
    assert documents(stored(tmp_path / "a.jsonl", content)) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{text: 1}", r"it is no JSON \(Expecting property name"),
        (b'{"text": "cut o', r"it is no JSON \(Unterminated string"),
        (b'{"text": "a\0b"}', r"it is no JSON \(Invalid control character"),
        (b"\0\0\0", "it is no JSON"),
        (b"[1, 2]", "it is an array; an object was needed"),
        (b"null", "it is null; an object was needed"),
        (b'{"title": "x", "id": 3}', "it has no text; it has title, id"),
        (b'{"text": 3}', "its text is a number; a string was needed"),
        (b'{"text": ["a"]}', "its text is an array; a string was needed"),
        (b'{"text": "a", "text": "b"}', "it has text more than once"),
        (b'{"text": "a"}{"text": "b"}', r"it is no JSON \(Extra data"),
        (b'{"text": ' + b"[" * 100_000, r"it is no JSON that can be read \(nested too deeply"),
        (b'{"text": "a", "n": ' + b"1" * 5000 + b"}", "it is no JSON"),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("last", [False, True])
def test_lines_that_are_no_documents(tmp_path: Path, line: bytes, reason: str, last: bool) -> None:
    whole = lines("a", "b")
    path = stored(tmp_path / "a.jsonl", whole + line + (b"" if last else b"\n" + whole))
    with pytest.raises(InputError, match=rf"a\.jsonl, line 3: {reason}"):
        documents(path)
    found, lost = tolerant(path)
    assert found == (["a", "b"] if last else ["a", "b", "a", "b"])
    assert len(lost) == 1


def test_the_text_column_is_found_or_named(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.jsonl", b'{"title": "a", "words": 3}\n{"title": "b", "url": "u"}\n')
    with pytest.raises(
        InputError, match=r"a\.jsonl has no column text or content; it has title, words, url\. Name one"
    ):
        inputs.find([path])
    with pytest.raises(InputError, match=r"column words holds no text; it has title, words, url\. Name another"):
        inputs.find([path], "words")
    assert documents(path, "title") == ["a", "b"]
    assert inputs.find([path], "title")[0].columns == ("title", "words", "url")


def test_files_that_are_no_json_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json holds one JSON array; one object a line was needed: jq"):
        inputs.find([stored(tmp_path / "a.json", b'[{"text": "a"},\n{"text": "b"}]')])
    with pytest.raises(InputError, match=r"b\.jsonl has no JSON object in its first lines"):
        inputs.find([stored(tmp_path / "b.jsonl", b"step,loss\n1,2\n")])


def test_other_columns_come_as_text(tmp_path: Path) -> None:
    content = b'{"text": "a", "url": "u", "n": 1.5, "d": {"k": ["\xc3\xbc"]}}\n{"text": "b", "n": null, "ok": true}\n'
    found = column(stored(tmp_path / "a.jsonl", content), ["url", "n", "d", "ok", "absent"])
    assert found == {"url": ["u", ""], "n": ["1.5", ""], "d": ['{"k": ["ü"]}', ""], "ok": ["", "true"]}


def test_rows_count_blank_and_damaged_lines(tmp_path: Path) -> None:
    source = inputs.find([stored(tmp_path / "a.jsonl", lines("a") + b"\nno\n" + lines("b"))])[0]
    (batch,) = inputs.read(source, source.pieces[0], on_damage="skip")
    assert batch.rows.tolist() == [0, 3]


@pytest.mark.parametrize("stretch", [4, 7, 64, 1000, 100_000])
def test_stretches_give_each_line_once(tmp_path: Path, stretch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "STRETCH", stretch)
    monkeypatch.setattr(streams, "CHUNK", 50)
    texts = ["é" * (i * 37 % 211) for i in range(60)]
    path = stored(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + lines(*texts).replace(b"\n", b"\n\n", 9).removesuffix(b"\n"))
    source = inputs.find([path])[0]
    assert source.pieces[-1].end == path.stat().st_size
    assert documents(path) == texts


def test_a_line_that_ends_where_a_stretch_does_belongs_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = lines("a", "b", "c")
    monkeypatch.setattr(locate, "STRETCH", len(lines("a")))
    source = inputs.find([stored(tmp_path / "a.jsonl", content)])[0]
    assert [len(batch.rows) for piece in source.pieces for batch in inputs.read(source, piece)] == [1, 1, 1]


def test_damage_in_a_stretch_is_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "STRETCH", 40)
    path = stored(tmp_path / "a.jsonl", lines("a", "b", "c") + b"no\n")
    with pytest.raises(InputError, match=r"a\.jsonl, line 1 after byte 80: it is no JSON"):
        documents(path)


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LINE_LIMIT", 5 << 20)
    path = stored(tmp_path / "a.jsonl", lines("a", "x" * (6 << 20), "b", "y" * (4 << 20)))
    found, lost = tolerant(path)
    assert [len(text) for text in found] == [1, 1, 4 << 20]
    assert lost == [f"{path}, line 2: it is longer than 5 MB"]


@pytest.mark.parametrize("suffix", COMPRESSED)
@pytest.mark.parametrize("chunk", [1 << 20, 100])
def test_every_member_of_a_compressed_file_is_read(
    tmp_path: Path, suffix: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CHUNK", chunk)
    texts = [f"{i} " + "text " * (i % 50) for i in range(900)]
    compress = COMPRESSED[suffix]
    content = b"".join(compress(lines(*texts[at : at + 300])) for at in (0, 300, 600))
    path = stored(tmp_path / f"a.jsonl{suffix}", content)
    assert documents(path) == texts
    assert inputs.find([path])[0].compression == streams.SUFFIXES[suffix]


@pytest.mark.parametrize("suffix", COMPRESSED)
@pytest.mark.parametrize("how", ["cut in the first", "cut in the second", "garbage behind", "changed"])
def test_damage_of_a_compressed_file_is_never_a_silent_end(tmp_path: Path, suffix: str, how: str) -> None:
    rng = random.Random(0)
    texts = ["".join(rng.choices("abcdefgh ", k=200)) for _ in range(3000)]
    compress = COMPRESSED[suffix]
    first, second = compress(lines(*texts)), compress(lines(*texts))
    content = {
        "cut in the first": first[: len(first) * 2 // 3],
        "cut in the second": first + second[: len(second) // 2],
        "garbage behind": first + b"garbage behind the last member",
        "changed": first[: len(first) // 2] + bytes([first[len(first) // 2] ^ 4]) + first[len(first) // 2 + 1 :],
    }[how]
    path = stored(tmp_path / f"a.jsonl{suffix}", content)
    with pytest.raises(InputError, match=r"stream is damaged|it is no JSON"):
        documents(path)
    found, lost = tolerant(path)
    assert any("stream is damaged" in message for message in lost)
    if how != "changed":
        assert found == (texts * 2)[: len(found)]
        assert len(lost) == 1


def test_a_compressed_file_that_is_none(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.jsonl.gz", lines("a"))
    with pytest.raises(InputError, match=r"a\.jsonl\.gz: the gzip stream is damaged \(it does not begin as one\)"):
        inputs.find([path])
    with pytest.raises(InputError, match=r"c\.jsonl\.gz: the gzip stream is damaged \(it is empty\)"):
        inputs.find([stored(tmp_path / "c.jsonl.gz", b"")])
    assert tolerant([path, stored(tmp_path / "b.jsonl", gzip.compress(lines("b")))])[0] == ["b"]


def test_batches_are_small(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.jsonl", lines(*["x" * 1000] * 9000, *[""] * 25_000))
    source = inputs.find([path])[0]
    sizes = [(len(batch.rows), batch.strings.nbytes) for batch in inputs.read(source, source.pieces[0])]
    assert sum(size for size, _ in sizes) == 34_000
    assert max(size for size, _ in sizes) <= inputs.BATCH_ROWS
    assert max(num_bytes for _, num_bytes in sizes) < 1.1 * inputs.BATCH_BYTES
