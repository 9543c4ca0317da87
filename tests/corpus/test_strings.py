"""Texts as Arrow's large strings: bytes, repair, hashes."""

import hashlib

import numpy as np
import pyarrow as pa

from talweg.corpus import strings


def test_bytes_that_are_no_text_are_kept_and_replaced_when_asked() -> None:
    found = strings.from_bytes([b"abc", b"caf\xe9 x", b"", b"\xff"])
    assert strings.texts(found) == ["abc", "caf\ufffd x", "", "\ufffd"]
    assert np.diff(strings.raw(found)[1]).tolist() == [3, 6, 0, 1]
    assert np.diff(strings.raw(strings.repaired(found))[1]).tolist() == [3, 8, 0, 3]


def test_an_array_without_rows_has_one_offset() -> None:
    data, ends = strings.raw(pa.array([], pa.large_string()))
    assert data.size == 0
    assert ends.tolist() == [0]


def test_hashes_leave_out_white_space_and_case_of_ascii() -> None:
    texts = pa.array(["Ab c", " aB\tC\n", "abd", "", " \n", "É", "é"], pa.large_string())
    hashes = strings.text_hashes(texts)
    expected = hashlib.sha256(b"abc").digest()[:8]
    assert hashes[0] == hashes[1] == int.from_bytes(expected, "little")
    assert hashes[3] == hashes[4] == 0
    assert np.unique(hashes).size == 5
    assert strings.text_hashes(texts.slice(2, 2)).tolist() == hashes[2:4].tolist()
