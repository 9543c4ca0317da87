"""`talweg export` of a model as a person types it."""

from pathlib import Path

import pytest

from talweg.cli import main
from talweg.corpus.tokenizer import raw_bytes
from tests.train.exchange.models import CLASSIC, ours, saved


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err.startswith("talweg: ")
    assert said.err.count("\n") == 1
    return said.err


def test_a_model_goes_to_each_format_and_from_one_to_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(ours(**{**CLASSIC, "vocabulary_size": 257}), Path("run"))
    raw_bytes().save(Path("run"))
    assert main(["export", "run", "--to", "nanogpt", "-o", "n"]) == 0
    said = capsys.readouterr()
    step = Path("run/checkpoints/step_00000007")
    assert said.out == f"n  talweg {step}, step 7 as nanoGPT: ckpt.pt, tokenizer.json\n"
    assert said.err == "note: its optimizer is fresh: nanoGPT goes on without the moments of this run\n"
    assert main(["export", "n/ckpt.pt", "--to", "hf", "--out", "h", "--tokenizer", "bytes"]) == 0
    files = "config.json, generation_config.json, model.safetensors, tokenizer.json, tokenizer_config.json"
    assert capsys.readouterr().out == f"h  nanoGPT n/ckpt.pt, step 7 as HF gpt2: {files}\n"


def test_what_cannot_be_exported_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(ours(value_residual=True), Path("run"))
    assert "model.value_residual = true; nothing was written" in refused(
        capsys, "export", "run", "--to", "hf", "--out", "h"
    )
    assert "run is a model, and --dtype is of the tokens of data" in refused(
        capsys, "export", "run", "--to", "nanogpt", "--dtype", "uint16", "--out", "h"
    )
    assert "run is a model, which is not written as datatrove" in refused(
        capsys, "export", "run", "--to", "datatrove", "--out", "h"
    )
    assert "nowhere is not there; needed a run folder" in refused(
        capsys, "export", "nowhere", "--to", "hf", "--out", "h"
    )
    assert not Path("h").exists()
