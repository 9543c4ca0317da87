"""Healthy runs are left alone. The whole count is bench/false_alarms.py; its record stands in notes/calibration.md."""

import sys
from pathlib import Path

import pytest

from tests.conftest import shared

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import false_alarms

ALLOWED = 0.02  # of the healthy runs, accused of anything


def test_simulated_healthy_runs() -> None:
    accused = {name: list(found) for name, run in false_alarms.simulated_runs(200) if (found := accusations(run))}
    assert len(accused) <= ALLOWED * 200, accused


def test_public_healthy_runs() -> None:
    """Constant rates and rates that stop at a part of the peak are truly not decayed; half of 20 tokens is too few."""
    shared("data/curves/multipowerlaw")
    for name, run in false_alarms.multipowerlaw():
        high = "constant" in name or "wsdcon_18" in name
        assert list(accusations(run)) == (["learning_rate_not_decayed"] if high else []), name
    for name, run in false_alarms.olmo_ladder():
        assert list(accusations(run)) == (["too_few_tokens"] if "-0.5xC" in name else []), name


@pytest.mark.parametrize("folder", ["modded_nanogpt", "parameter_golf"])
def test_public_records_whose_configuration_is_not_known(folder: str) -> None:
    shared(f"data/curves/{folder}")
    assert {name: list(found) for name, run in false_alarms.parsed(folder) if (found := accusations(run))} == {}


def accusations(run: object) -> dict[str, object]:
    return dict(false_alarms.accusations(run))
