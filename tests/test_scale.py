"""The arithmetic of docs/scale.md, against figures worked out by hand."""

from pathlib import Path

import pytest

from tests.test_docs import load

scale = load(Path(__file__).parents[1] / "docs" / "scale.py")
STAGES = ("survey", "bands", "decide", "encode", "sought", "overlap", "publish")
RATES = {  # 1 MB of text in 100 documents; each stage takes a second
    "text_bytes": 1_000_000,
    "documents": 100,
    "stages": {stage: {"cpu_seconds": 1.0, "bytes": 20_000, "tasks": 2} for stage in STAGES},
    "bytes_in_memory_for_a_document": {"bands": 30, "decide": 50, "publish": 10},
}


def test_a_text_of_fifteen_trillion_tokens() -> None:
    text = scale.Text(15e12)
    assert text.files == pytest.approx(20_548, abs=1)  # 15e12 / 0.73e9
    assert text.stored == pytest.approx(44.2e12, rel=1e-3)  # 20,548 files of 2.15 GB
    assert text.documents == pytest.approx(21.37e9, rel=1e-3)
    assert text.bytes == pytest.approx(66e12)
    assert text.tasks == pytest.approx(257_812, abs=1)  # of 256 MB


def test_what_stages_cost() -> None:
    text = scale.Text(0.73e9)  # one file: 1.04 M documents, 3.212 GB of text
    costs = scale.costs(text, RATES)
    assert tuple(costs) == STAGES
    assert costs["survey"].seconds == pytest.approx(3212)  # a second a megabyte
    assert costs["survey"].written == pytest.approx(208e6)  # 200 bytes a document
    assert costs["decide"].seconds == pytest.approx(10_400)  # a second for 100 documents
    assert costs["decide"].memory == pytest.approx(52e6)
    assert costs["bands"].memory == pytest.approx(31.2e6)
    assert costs["encode"].read == pytest.approx(2.15e9)
    assert costs["publish"].seconds == pytest.approx(12.547 / 2, rel=1e-3)  # half a second a task of 256 MB
    assert scale._hours(costs["decide"]) == pytest.approx(10_400 / 3600 / 0.8)  # one core, 80 % of the time


@pytest.mark.parametrize(
    ("number", "said"), [(999, "999"), (1_234_567, "1.23 M"), (21.37e9, "21.4 B"), (15e12, "15 T"), (12_345, "12,345")]
)
def test_numbers_as_they_are_said(number: float, said: str) -> None:
    assert scale._n(number) == said
