"""Signatures, against exact Jaccard similarities, a plain MinHash of 112 functions, and edited copies of real text."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from talweg.corpus import minhash
from talweg.corpus.minhash import BANDS, CELLS, ROWS, SHINGLE, THROWS, Signatures, alike, cells, signatures
from tests.conftest import shared
from tests.corpus.test_words import joined, mix, spelled

GOLDEN, MASK = 0x9E3779B97F4A7C15, 2**64 - 1


def of(texts: list[str], before: bytes = b"") -> Signatures:
    return signatures(*joined(texts, before))


def slow_cells(hashes: list[int]) -> list[int]:
    """The signature of one document, one shingle and one throw after another."""
    table: list[int | None] = [None] * CELLS
    for throw in range(THROWS):
        thrown: dict[int, int] = {}
        for each in hashes:
            value = mix((each + throw * GOLDEN) & MASK)
            cell = (value >> 32) * CELLS >> 32
            thrown[cell] = min(value, thrown.get(cell, MASK))
        table = [thrown.get(i) if value is None else value for i, value in enumerate(table)]
    return [
        min(mix((each + (THROWS + i) * GOLDEN) & MASK) for each in hashes) if value is None else value
        for i, value in enumerate(table)
    ]


def pairs(rng: np.random.Generator, num: int, size: int, both: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Cells of two sets of shingles, num times: each set has size members, and both of them so many."""
    drawn = rng.integers(0, 2**64, size=(num, 2 * size - both), dtype=np.uint64)
    counts = np.full(num, size)
    left, right = drawn[:, :size], drawn[:, size - both :]
    return cells(np.ravel(left), counts), cells(np.ravel(right), counts)


def plain(hashes: NDArray[np.uint64], salts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(sets, 112) MinHash of sets (sets, size) the plain way: the least value of each of 112 functions."""
    least = [minhash.mixed(hashes + salt).min(axis=1) for salt in salts]
    return np.column_stack(least)


@pytest.mark.parametrize("size", [1, 2, 7, 40, 300, 2000])
def test_cells_are_the_slow_ones(size: int) -> None:
    hashes = np.random.default_rng(size).integers(0, 2**64, size=size, dtype=np.uint64)
    several = cells(np.concatenate([hashes, hashes[:1], hashes]), np.array([size, 1, size]))
    expected = slow_cells(hashes.tolist())
    assert several[0].tolist() == several[2].tolist() == expected
    assert several[1].tolist() == slow_cells(hashes[:1].tolist())


@pytest.mark.parametrize(
    ("size", "both"), [(1, 1), (3, 2), (8, 4), (20, 15), (60, 50), (200, 100), (900, 800), (2500, 2000)]
)
def test_the_share_of_equal_cells_estimates_jaccard_without_bias(size: int, both: int) -> None:
    num = 3000 if size < 500 else 600
    left, right = pairs(np.random.default_rng(size), num, size, both)
    share = (left == right).mean(axis=1)
    jaccard = both / (2 * size - both)
    spread = np.sqrt(jaccard * (1 - jaccard) / CELLS)  # of 112 independent cells
    assert share.mean() == pytest.approx(jaccard, abs=4 * spread / np.sqrt(num) + 1e-12)
    assert share.std() <= 1.1 * spread + 1e-12  # cells shared out among shingles are, if anything, less noisy


@pytest.mark.parametrize("size", [10, 50, 400])
@pytest.mark.parametrize("share", [0.6, 0.75, 0.85])
def test_documents_meet_as_often_as_the_formula_and_the_plain_way_say(size: int, share: float) -> None:
    num, both = 4000, round(2 * size * share / (1 + share))
    rng = np.random.default_rng(size)
    drawn = rng.integers(0, 2**64, size=(num, 2 * size - both), dtype=np.uint64)
    jaccard = both / (2 * size - both)
    expected = 1 - (1 - jaccard**ROWS) ** BANDS
    salts = rng.integers(0, 2**64, size=CELLS, dtype=np.uint64)
    counts = np.full(num, size)
    for name in ("ours", "plain"):
        left, right = drawn[:, :size], drawn[:, size - both :]
        tables = [cells(np.ravel(each), counts) if name == "ours" else plain(each, salts) for each in (left, right)]
        bands = [minhash._band_hashes(table) for table in tables]
        met = (bands[0] == bands[1]).any(axis=1).mean()
        noise = np.sqrt(expected * (1 - expected) / num)
        steadier = 0.02 if name == "ours" else 0  # few shingles share the cells out among them: a steeper curve
        assert met == pytest.approx(expected, abs=4 * noise + steadier), name


def test_signatures_are_those_of_each_document_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    vocabulary = [f"w{i}" for i in range(500)]
    texts = [" ".join(rng.choice(vocabulary, size=size)) for size in (0, 1, 4, 5, 6, 30, 400, 3000, 2, 0, 50)]
    whole = of(texts, before=b"not read")
    for number, text in enumerate(texts):
        alone = of([text])
        assert alone.bands[0].tolist() == whole.bands[number].tolist()
        assert alone.sketches[0].tolist() == whole.sketches[number].tolist()
    sizes = [len(spelled(text)) for text in texts]
    assert whole.num_shingles.tolist() == [max(size - SHINGLE + 1, min(size, 1)) for size in sizes]
    monkeypatch.setattr(minhash, "BLOCK", 20)
    assert np.array_equal(of(texts).bands, whole.bands)
    assert np.array_equal(of(texts).sketches, whole.sketches)


def test_short_documents_meet_if_they_are_the_same_words() -> None:
    texts = [
        "one",
        "One!",
        "two",
        "one two",
        "two one",
        "one one",
        "a b c d",
        "A, b; c: d.",
        "a b c d e",
        "a b c",
        "one",
    ]
    bands = of(texts).bands
    groups = {tuple(spelled(text)) for text in texts}
    for column in bands.T:
        found: dict[int, set[tuple[str, ...]]] = {}
        for text, value in zip(texts, column.tolist(), strict=True):
            found.setdefault(value, set()).add(tuple(spelled(text)))
        assert all(len(words) == 1 for words in found.values())
        assert len(found) == len(groups)


def test_documents_without_words_meet_if_they_are_equal() -> None:
    found = of(["...", "", "---", "...", "", "... ", "!" * 100, "!" * 101, "\x00", "\x00\x00"])
    assert found.num_shingles.tolist() == [0] * 10
    for column in found.bands.T:
        assert column[0] == column[3]
        assert column[1] == column[4]
        assert np.unique(column).size == 8


def test_no_documents() -> None:
    found = of([])
    assert found.bands.shape == (0, BANDS)
    assert found.sketches.shape == (0, CELLS)


def test_sketches_tell_copies_from_pages_of_one_template() -> None:
    rng = np.random.default_rng(4)
    for size, both, expected in ((400, 267, 0.0), (400, 360, 1.0)):  # J = 0.50 and 0.82
        left, right = (table.astype(np.uint8) for table in pairs(rng, 1000, size, both))
        assert alike(left, right).mean() == pytest.approx(expected, abs=0.01)


def edited(text: str, rate: float, rng: np.random.Generator) -> str:
    """A copy in which words are replaced by others at this rate."""
    pieces = text.split(" ")
    changed = rng.random(len(pieces)) < rate
    return " ".join(f"zq{rng.integers(10**9)}" if new else old for old, new in zip(pieces, changed, strict=True))


def test_recall_of_edited_copies_of_real_text() -> None:
    with pq.ParquetFile(shared("data/corpus/tech_00000.parquet")) as file:
        texts = file.read_row_group(0, columns=["text"]).column("text").to_pylist()
    rng = np.random.default_rng(5)
    original = of(texts)
    for rate, least in ((0.0, 1.0), (0.01, 0.96), (0.03, 0.68)):  # the plain way's: 0.99, 0.97-0.98, 0.69-0.75
        copies = of([edited(text, rate, rng) for text in texts])
        met = (copies.bands == original.bands).any(axis=1) & alike(copies.sketches, original.sketches)
        assert met.mean() >= least
    others = np.roll(np.arange(len(texts)), 1)
    assert (original.bands == original.bands[others]).any(axis=1).mean() < 0.01
