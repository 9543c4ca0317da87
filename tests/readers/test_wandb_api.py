"""A run on a W&B server, with a module that answers as wandb does: no network is needed."""

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.readers import read
from tests.readers.test_nanogpt import points


class FakeRun:
    state = "crashed"

    def __init__(self, rows: list[dict[str, object]]) -> None:
        self.rows = rows
        self.config = {"n_layer": 4, "_wandb": {"value": {}}, "optimizer": {"lr": 0.001}}

    def scan_history(self) -> Iterator[dict[str, object]]:
        return iter(self.rows)


ROWS: list[dict[str, object]] = [
    {"_step": 0, "_runtime": 0.5, "_timestamp": 1795451117.0, "trainer/global_step": 0, "train/loss": 5.0},
    {"_step": 1, "_runtime": 0.6, "_timestamp": 1795451118.0, "trainer/global_step": 10, "train/loss": "NaN"},
    {"_step": 2, "_runtime": 0.7, "_timestamp": 1795451119.0, "trainer/global_step": 10, "val/loss": 4.5},
    {"_step": 3, "_runtime": 0.8, "_timestamp": 1795451120.0, "trainer/global_step": 20, "train/loss": 4.0},
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were asked for."""
    seen: list[str] = []

    class Api:
        def run(self, path: str) -> FakeRun:
            seen.append(path)
            if path.endswith("gone"):
                raise ValueError(f"Could not find run {path}\n(not found)")
            return FakeRun([] if path.endswith("empty") else ROWS)

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(Api=Api))  # type: ignore[arg-type]
    return seen


@pytest.mark.parametrize(
    "address", ["wandb://me/gpt/abc123", Path("wandb://me/gpt/abc123"), "wandb://me/gpt/runs/abc123/"]
)
def test_all_rows_of_its_history(asked: list[str], address: str | Path) -> None:
    run = read(address)
    assert asked == ["me/gpt/abc123"]
    assert run.format == "wandb_api"
    assert run.train_loss.step.tolist() == [0, 10, 20]
    assert np.isnan(run.train_loss.value[1])
    assert points(run.val_loss) == {10: 4.5}
    assert run.wall_time.value[0] == 1795451117.0
    assert (run.facts.layers, run.facts.peak_learning_rate) == (4, 0.001)
    assert "W&B calls this run crashed" in run.reading.notes
    assert run.source == "wandb://me/gpt/abc123" or str(address) in run.source


def test_what_the_server_refuses_is_told_in_one_line(asked: list[str]) -> None:
    with pytest.raises(
        InputError, match=r"could not be read from W&B \(Could not find run me/gpt/gone \(not found\)\)"
    ):
        read("wandb://me/gpt/gone")
    with pytest.raises(InputError, match="has no history yet"):
        read("wandb://me/gpt/empty")
    with pytest.raises(InputError, match="has the form wandb://ENTITY/PROJECT/RUN_ID"):
        read("wandb://me/gpt")


def test_without_wandb_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r'needs wandb: pip install "talweg\[wandb\]"'):
        read("wandb://me/gpt/abc123")
