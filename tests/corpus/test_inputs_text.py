"""Plain text as documents: separated by a line, cut where it is long, and nothing of it lost."""

import gzip
import random
from pathlib import Path

import pytest

from talweg.corpus import inputs
from talweg.corpus.inputs import locate, plain, streams
from talweg.errors import InputError
from tests.corpus.reading import documents, tolerant


def stored(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_file_is_a_document(tmp_path: Path) -> None:
    stored(tmp_path / "a.txt", b"\xef\xbb\xbfone\n\ntwo\r\n")
    stored(tmp_path / "b.md", "\ufeffdrei ü".encode("utf-16"))
    stored(tmp_path / "c.txt.gz", gzip.compress(b"four caf\xe9"))
    assert documents(tmp_path) == ["one\n\ntwo\r\n", "\ufeffdrei ü", "four caf\ufffd"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\n<|endoftext|>\nb\n<|endoftext|>\n", [b"a\n", b"b\n"]),
        (b"<|endoftext|>\r\na\r\n<|endoftext|>\r\n\r\nb", [b"a\r\n", b"\r\nb"]),
        (b"a\n<|endoftext|>", [b"a\n"]),
        (b"a\n<|endoftext|>\r", [b"a\n"]),
        (b"a <|endoftext|>\n<|endoftext|> b\nc<|endoftext|>", [b"a <|endoftext|>\n<|endoftext|> b\nc<|endoftext|>"]),
        (b"<|endoftext|>\n<|endoftext|>\n\n", [b"\n"]),
        (b"<|endoftext|>\n", []),
        (b"", []),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_a_line_of_its_own_separates(content: bytes, expected: list[bytes], size: int) -> None:
    parts = (content[at : at + size] for at in range(0, len(content), size))
    assert list(plain.documents(parts)) == expected


def cut(content: bytes, size: int = 1 << 20) -> list[bytes]:
    found = list(plain.documents(content[at : at + size] for at in range(0, len(content), size)))
    assert b"".join(found) == content
    assert all(plain.SHORTEST <= len(each) <= plain.LONGEST for each in found[:-1])
    return found


@pytest.mark.parametrize("size", [999, 64_000, 1 << 20])
def test_long_text_is_cut_at_blank_lines_first(size: int) -> None:
    rng = random.Random(0)
    paragraphs = [" ".join(["word"] * rng.randint(1, 900)) + "\nline" for _ in range(200)]
    found = cut("\n\n".join(paragraphs).encode(), size)
    assert len(found) > 5
    assert all(each.endswith(b"\n\n") for each in found[:-1])


def test_else_at_the_end_of_a_line_else_at_white_space_else_between_characters() -> None:
    assert all(each.endswith(b"\n") for each in cut(b"some words\n" * 30_000)[:-1])
    assert all(each.endswith(b" ") for each in cut(b"word " * 60_000)[:-1])
    assert "".join(each.decode() for each in cut(("x" + "€" * 100_000).encode())) == "x" + "€" * 100_000


def test_text_of_the_longest_size_is_left_whole() -> None:
    assert len(cut(b"x\n" * (plain.LONGEST // 2))) == 1
    assert len(cut(b"x\n" * (plain.LONGEST // 2) + b"x")) == 2


def test_stretches_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "STRETCH", 100_000)
    monkeypatch.setattr(streams, "CHUNK", 3000)
    content = "".join(f"line {i} é\n" for i in range(40_000))
    path = stored(tmp_path / "a.txt", content.encode())
    assert len(inputs.find([path])[0].pieces) == len(content.encode()) // 100_000 + 1
    assert "".join(documents(path)) == content


def test_what_is_no_text(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.txt", "no mark".encode("utf-16-le"))
    with pytest.raises(InputError, match=r"a\.txt is no text in UTF-8; convert it first \(iconv"):
        inputs.find([path])


def test_what_was_read_before_damage_is_kept_and_the_rest_told(tmp_path: Path) -> None:
    rng = random.Random(0)
    content = "".join(rng.choices("abcdefgh \n", k=5_000_000)).encode()
    packed = gzip.compress(content)
    path = stored(tmp_path / "a.txt.gz", packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"a\.txt\.gz, after [\d,]+ bytes of text: the gzip stream is damaged"):
        documents(path)
    found, lost = tolerant(path)
    assert len(lost) == 1
    assert content.decode().startswith("".join(found))
    assert len("".join(found)) > 1_000_000
