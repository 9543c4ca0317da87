"""Token files of another's making: what is measured, against counts by hand and slow computations."""

import json
from pathlib import Path

import numpy as np
import pytest

from talweg.corpus.inspect import context, files, inspect, vocabulary
from talweg.corpus.inspect.context import Context
from talweg.corpus.inspect.documents import Documents
from talweg.corpus.inspect.fit import joinable_ratio, undecodable_share
from talweg.corpus.inspect.order import Order, _apart
from talweg.corpus.inspect.vocabulary import Vocabulary
from talweg.errors import InputError
from tests.conftest import shared
from tests.corpus import token_files


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# files


@pytest.mark.parametrize("dtype", ["<u2", "<u4", "<u8"])
def test_the_width_of_a_raw_file_is_told_from_its_bytes(tmp_path: Path, dtype: str) -> None:
    tokens = np.minimum(rng().zipf(1.3, 40_000), 50_256)
    tokens.astype(dtype).tofile(tmp_path / "train.bin")
    found = files.open_file(tmp_path / "train.bin")
    assert found.tokens.dtype == np.dtype(dtype)
    assert np.array_equal(found.tokens, tokens)
    assert found.because.startswith(f"uint{8 * np.dtype(dtype).itemsize}")


def test_characters_in_two_bytes_are_no_wider_tokens(tmp_path: Path) -> None:
    """nanoGPT's shakespeare_char: ids below 65, some below 16, as text has them."""
    tokens = rng().integers(0, 65, 30_000)
    tokens.astype("<u2").tofile(tmp_path / "train.bin")
    assert np.array_equal(files.open_file(tmp_path / "train.bin").tokens, tokens)


def test_a_tiny_vocabulary_is_not_taken_for_upper_halves(tmp_path: Path) -> None:
    tokens = rng().integers(0, 12, 30_000)
    tokens.astype("<u2").tofile(tmp_path / "train.bin")
    assert np.array_equal(files.open_file(tmp_path / "train.bin").tokens, tokens)


def test_the_header_of_llmc_says_type_and_size(tmp_path: Path) -> None:
    path, header, tokens = tmp_path / "text_train_000001.bin", np.zeros(256, "<i4"), np.arange(500)
    header[:3] = 20240520, 1, tokens.size
    path.write_bytes(header.tobytes() + tokens.astype("<u2").tobytes())
    assert np.array_equal(files.open_file(path).tokens, tokens)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="holds 500 tokens, but has room for 495"):
        files.open_file(path)


def test_what_holds_no_tokens_is_refused_in_one_line(tmp_path: Path) -> None:
    bad = {"empty.bin": b"", "odd.bin": b"abc", "broken.npy": b"\x93NUMPY"}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"empty|odd number|cut off"):
            files.open_file(tmp_path / name)
    np.save(tmp_path / "square.npy", np.zeros((3, 3)))
    with pytest.raises(InputError, match="one row of whole numbers"):
        files.open_file(tmp_path / "square.npy")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(InputError, match="cut off or no"):
        files.open_file(tmp_path / "objects.npy")


def test_train_and_val_are_found_by_their_names(tmp_path: Path) -> None:
    for name in ("a_train_000001.bin", "a_train_000002.bin", "a_val_000000.bin", "b_val_000000.bin", "meta.pkl"):
        (tmp_path / name).write_bytes(b"\0\0")
    train, val = files.find(tmp_path)
    assert [p.name for p in train] == ["a_train_000001.bin", "a_train_000002.bin"]
    assert len(val) == 2
    train, val = files.find(tmp_path / "a_train_000001.bin")
    assert len(train) == 2
    assert [p.name for p in val] == ["a_val_000000.bin"]


# vocabulary


def test_what_stands_beside_tokens_is_no_token_file(tmp_path: Path) -> None:
    """Shards of talweg prepare that were copied without their manifest."""
    for name in ("train-00000.npy", "train-00000.documents.npy", "val-00000.npy", "val-00000.overlap.npy"):
        (tmp_path / name).touch()
    assert [[p.name for p in side] for side in files.find(tmp_path)] == [["train-00000.npy"], ["val-00000.npy"]]


def test_a_ranks_file_and_a_tokenizer_json_give_the_same_bytes() -> None:
    ranks = vocabulary.read(str(shared("data/gpt2/r50k_base.tiktoken")))
    assert (ranks.size, ranks.separator_id) == (50_257, 50_256)
    assert ranks.pieces[15496] + ranks.pieces[995] == b"Hello world"
    other = vocabulary.read(str(shared("data/gpt2/tokenizer_nospecial.json")))
    assert other.pieces[:50_256] == ranks.pieces[:50_256]


def test_sentencepiece_pieces_become_bytes(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    vocab = [["<unk>", 0], ["</s>", 0], ["\u2581the", -1], ["<0x0A>", -2]]
    path.write_text(json.dumps({"model": {"type": "Unigram", "vocab": vocab}, "added_tokens": []}))
    found = vocabulary.read(str(path))
    assert found.pieces[2:] == (b" the", b"\n")
    assert found.separator_id == 1


@pytest.mark.parametrize("name", ["nothing.json", "no.json", "no.tiktoken"])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "no.json").write_text("{}")
    (tmp_path / "no.tiktoken").write_text("hello")
    with pytest.raises(InputError, match=r"no tokenizer|no ranks"):
        vocabulary.read(str(tmp_path / name))


def test_gpt2_that_cannot_be_had_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(vocabulary, "GPT2_URL", "/nowhere/r50k_base.tiktoken")
    with pytest.raises(InputError, match=r"--tokenizer r50k_base.tiktoken"):
        vocabulary.read("gpt2")


# documents


def test_documents_are_counted_and_copies_found() -> None:
    """Against a set of tuples."""
    draw, separator = rng(1), 99
    kinds = [draw.integers(0, 99, int(draw.integers(1, 60))) for _ in range(40)]
    texts = [kinds[i] for i in draw.integers(0, 40, 100)]
    stream = np.concatenate([np.append(text, separator) for text in texts])
    counted = Documents(separator, 100)
    counted.add(stream)
    whole = [tuple(text) for text in texts[1:]]  # what begins a block may be cut by it
    unique = sum(len(text) + 1 for text in set(whole))
    assert counted.num_separators == 100
    assert counted.repeated_share() == pytest.approx(1 - unique / sum(len(text) + 1 for text in whole))
    shares = counted.shares_by_length()
    assert shares is not None
    assert shares[4] == pytest.approx(
        sum(len(t) + 1 for t in whole if 16 <= len(t) + 1 < 32) / sum(len(t) + 1 for t in whole)
    )


# context


def slow_counts(tokens: np.ndarray, newlines: np.ndarray) -> np.ndarray:
    """Found and expected pairs by two loops over all places. Line borders, no separators."""
    border = newlines[tokens] > 0
    index, num = np.cumsum(border), int((~border).sum())
    values, counts = np.unique(tokens[~border], return_counts=True)
    often = dict(zip(values.tolist(), counts.tolist(), strict=True))
    rare = {v for v, n in often.items() if 2 <= n <= 10}
    chance = sum(n * (n - 1) for v, n in often.items() if v in rare) / (num * (num - 1))
    out = np.zeros((4, len(context.DISTANCES) - 1))
    for i in range(tokens.size):
        for j in range(i + context.DISTANCES[0], min(i + context.DISTANCES[-1], tokens.size)):
            if border[i] or border[j]:
                continue
            of = int(np.searchsorted(context.DISTANCES, j - i, side="right")) - 1
            side = 0 if index[i] == index[j] else 2
            out[side, of] += tokens[i] == tokens[j] and int(tokens[i]) in rare
            out[side + 1, of] += chance
    return out


def test_pairs_are_those_that_two_loops_find() -> None:
    draw = rng(2)
    tokens = draw.integers(1, 400, 3000)
    tokens[draw.random(3000) < 0.03] = 0
    newlines = np.zeros(400, dtype=np.int64)
    newlines[0] = 1
    counted = Context(newlines, None)
    counted.add(tokens)
    found, slow = counted._counts["line"][0], slow_counts(tokens, newlines)
    assert np.array_equal(found[[0, 2]], slow[[0, 2]])
    assert found[[1, 3]] == pytest.approx(slow[[1, 3]], rel=0.12)  # places are counted at three distances of a class


def test_shuffled_lines_keep_nothing_and_lines_in_order_nearly_all(tmp_path: Path) -> None:
    texts = token_files.documents(2500)
    made = token_files.trained(texts, 3000, tmp_path / "tokenizer")
    lines = [line + "\n" for text in texts for line in text.split("\n") if line]
    mixed = [lines[i] for i in rng(3).permutation(len(lines))]
    kept = []
    for name, parts, separated in (("intact", texts, True), ("lines", mixed, False)):
        tokens = token_files.ids(made, parts, separated=separated)
        data = token_files.write(tmp_path / name, tokens, tokens[:5000])
        found = inspect(data, str(tmp_path / "tokenizer")).context
        assert found is not None
        kept.append(found)
    assert kept[0].value > 0.7
    assert abs(kept[1].value) < 4 * kept[1].standard_error < 0.1
    assert kept[1].border == "line"


# order


def test_text_sorted_by_matter_drifts_and_the_same_dealt_at_random_does_not() -> None:
    """Two halves of disjoint vocabularies, in sixteen parts: J of the sorted is ln 2."""
    draw, halves = rng(4), []
    for first in (0, 500):
        halves.append(draw.integers(first, first + 500, 1_000_000))
    in_order, mixed = Order(None, 2_000_000), Order(None, 2_000_000)
    for half in halves:
        in_order.add(half)
    pieces = [half[i : i + 8192] for half in halves for i in range(0, half.size, 8192)]
    mixed.add(np.concatenate([pieces[i] for i in draw.permutation(len(pieces))]))
    one, other = in_order.drift(), mixed.drift()
    assert one is not None
    assert other is not None
    assert one.nats + one.chance == pytest.approx(np.log(2), abs=0.01)
    assert other.nats < 0.1 * one.nats
    assert one.p_value < 0.05


def test_divergence_by_hand() -> None:
    pieces = np.tile(np.eye(2), (8, 1))  # sixteen parts of one piece each: one kind or the other
    assert _apart(pieces, np.arange(16)) == pytest.approx(np.log(2))


# tokenizer


def test_neighbours_that_would_have_been_joined(tmp_path: Path) -> None:
    texts = token_files.documents(600)
    made, other = (token_files.trained(texts, size, tmp_path / str(size)) for size in (1200, 500))
    own = vocabulary.read(str(tmp_path / "1200"))
    right = joinable_ratio(token_files.ids(made, texts, separated=False), own)
    wrong = joinable_ratio(token_files.ids(other, texts, separated=False), own)
    assert right is not None
    assert wrong is not None
    assert right < 0.05 < 0.3 < wrong


def test_bytes_join_nothing_so_nothing_is_said() -> None:
    letters = Vocabulary("bytes", tuple(bytes([i]) for i in range(256)), None)
    assert joinable_ratio(rng().integers(0, 256, 5000), letters) is None


def test_characters_that_are_no_text_are_counted() -> None:
    """A bad byte and a control character among ten."""
    letters = Vocabulary("bytes", tuple(bytes([i]) for i in range(256)), None)
    assert undecodable_share(np.array([*b"abcdefgh", 0xFF, 0x01]), letters) == pytest.approx(0.2)


# the whole


def test_overlap_counts_and_entropy_of_a_folder(tmp_path: Path) -> None:
    texts = token_files.documents(400)
    made = token_files.trained(texts, 800, tmp_path / "tokenizer")
    train, val = token_files.ids(made, texts[40:]), token_files.ids(made, texts[20:60])
    found = inspect(token_files.write(tmp_path / "data", train, val), str(tmp_path / "tokenizer"))
    assert (found.tokens, found.scanned, found.val_tokens) == (train.size, train.size, val.size)
    assert (found.documents, found.val_documents) == (360, 40)
    assert found.val_overlap_share == pytest.approx(0.5, abs=0.05)
    counts = np.bincount(train)
    share = counts[counts > 0] / train.size
    assert found.unigram_nats == pytest.approx(float(-(share * np.log(share)).sum()))
    assert found.largest_id == train.max()
    text_bytes = sum(len(text.encode()) for text in texts[40:])
    assert found.bytes_per_token == pytest.approx(text_bytes / (train.size - 360))
    assert found.outside_vocabulary_share == 0


def test_a_large_file_is_scanned_in_part_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from talweg.corpus import inspect as room

    monkeypatch.setattr(room, "BLOCK", 1000)
    monkeypatch.setattr(room, "SCAN", 20_000)
    tokens = rng().integers(0, 900, 100_000)
    found = inspect(token_files.write(tmp_path, tokens, tokens[:2000]))
    assert found.tokens == 100_000
    assert 18_000 <= found.scanned <= 22_000
    assert found.joinable_ratio is None
    assert found.context is None


def test_negative_ids_are_outside_of_any_vocabulary(tmp_path: Path) -> None:
    texts = token_files.documents(100)
    made = token_files.trained(texts, 600, tmp_path / "tokenizer")
    tokens = token_files.ids(made, texts)
    tokens[::100] = -5
    np.save(tmp_path / "train.npy", tokens.astype(np.int16))
    found = inspect(tmp_path / "train.npy", str(tmp_path / "tokenizer"))
    assert found.outside_vocabulary_share == pytest.approx(0.01, abs=1e-4)


def test_a_folder_without_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no train\*.bin"):
        inspect(tmp_path)
