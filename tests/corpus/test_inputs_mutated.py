"""Mutated files, as bench/fuzz_inputs.py makes them by the ten thousand: no traceback, no silent loss."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "fuzz_inputs.py"
pytest.importorskip("zstandard")


@pytest.fixture(scope="module")
def fuzz() -> Any:
    spec = importlib.util.spec_from_file_location("fuzz_inputs", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_inputs"] = module
    spec.loader.exec_module(module)
    return module


def test_originals_are_read_as_they_are(fuzz: Any, tmp_path: Path) -> None:
    for original in fuzz.originals():
        assert fuzz.tried(original, original.content, tmp_path / original.name) == "same"


def test_mutated_files_are_read_refused_or_told(fuzz: Any, tmp_path: Path) -> None:
    known = fuzz.originals()
    verdicts: Counter[str] = Counter()
    for index in range(330):
        original, content = fuzz.made(index, 1, known)
        verdict = fuzz.tried(original, content, tmp_path / original.name)
        assert not verdict.startswith("FAULT"), f"input {index}: {verdict}"
        verdicts[verdict] += 1
    assert verdicts["footer"] == 0  # none of these meets what no checksum covers
    assert min(verdicts[verdict] for verdict in ("same", "refused", "told")) > 20


def test_a_silent_loss_would_be_seen(fuzz: Any) -> None:
    for original in fuzz.originals():
        found = list(enumerate(original.texts))
        expected = "FAULT" if original.name != "a.jsonl" else "FAULT: other documents than its lines hold"
        assert fuzz.judged(original, original.content, found[:-1], []).startswith(expected)
        assert fuzz.judged(original, original.content, found, []) == "same"


def test_a_footer_that_ended_the_process_is_told(fuzz: Any, tmp_path: Path) -> None:
    # pyarrow 26.0.1 aborts in RowGroupMetaData.column() here, beyond the reach of `except`
    original, content = fuzz.made(9900, 1, fuzz.originals())
    assert fuzz.tried(original, content, tmp_path / original.name) == "told"
