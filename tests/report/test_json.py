"""The JSON keeps the contract: these keys, null for what is not known, strict JSON whatever the run held."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from talweg.diagnosis import Diagnosis, Event
from talweg.estimate import Estimate
from talweg.finding import Remedy
from talweg.report.json import to_json
from tests.report import seed_diagnosis

ESTIMATE = {"value", "low", "high"}
CONTRACT: dict[str, set[str]] = {
    "": {"talweg", "run", "state", "now", "expected", "forecast", "causes", "unknown", "myths"},
    "run": {
        "format",
        "steps",
        "planned_steps",
        "parameters",
        "tokens_per_step",
        "tokens_seen",
        "unique_tokens",
        "epochs",
    },
    "now": {"step", "train", "val", "trend"},
    "expected": ESTIMATE | {"because"},
    "forecast": ESTIMATE | {"step"},
}


def strict(diagnosis: Diagnosis) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(json.dumps(to_json(diagnosis), allow_nan=False), parse_constant=refuse)


@pytest.mark.parametrize("part", sorted(CONTRACT))
def test_the_keys_of_the_contract_are_there(part: str) -> None:
    whole = strict(seed_diagnosis.diagnosis())
    assert CONTRACT[part] <= set(whole[part] if part else whole)


def test_every_cause_stands_there_ranked_with_its_keys() -> None:
    diagnosis = seed_diagnosis.diagnosis()
    causes = strict(diagnosis)["causes"]
    assert [c["name"] for c in causes] == [c.name for c in diagnosis.causes]
    for cause in causes:
        assert {"name", "group", "verdict", "nats", "because", "refuted_by", "remedies"} <= set(cause)
        for remedy in cause["remedies"]:
            assert {"change", "config", "gain", "tokens"} <= set(remedy)
            assert set(remedy["gain"]) == ESTIMATE
    first = causes[0]
    assert first["nats"] == {"value": 0.302, "low": 0.241, "high": 0.363}
    assert first["remedies"][0]["config"] == {"model.width": 512}
    assert causes[-1]["nats"] is None


def test_figures_are_those_of_the_run() -> None:
    whole = strict(seed_diagnosis.diagnosis())
    assert whole["run"]["steps"] == 14500
    assert whole["run"]["tokens_seen"] == 14500 * 524288
    assert isinstance(whole["run"]["parameters"], int)
    assert whole["run"]["unique_tokens"] is None
    assert whole["run"]["epochs"] is None
    assert whole["now"]["trend"]["per"] == "1000 steps"
    assert set(whole["unknown"][0]) >= {"name", "needs", "would_narrow_nats"}
    assert whole["unknown"][0]["would_narrow_nats"] == 0.12
    assert set(whole["myths"][0]) == {"claim", "reading"}


def test_what_is_not_known_is_null() -> None:
    whole = strict(seed_diagnosis.bare())
    assert whole["now"] is whole["expected"] is whole["forecast"] is None
    assert set(whole["run"]) >= CONTRACT["run"]
    assert whole["run"]["steps"] is whole["run"]["parameters"] is None


def test_epochs_are_tokens_seen_over_unique_tokens() -> None:
    diagnosis = seed_diagnosis.diagnosis()
    run = replace(diagnosis.run, facts=replace(diagnosis.run.facts, unique_tokens=0.73e9))
    assert strict(replace(diagnosis, run=run))["run"]["epochs"] == pytest.approx(10.414, abs=1e-3)


def test_nan_infinity_and_numpy_become_plain_json() -> None:
    diagnosis = seed_diagnosis.diagnosis()
    first = diagnosis.causes[0]
    odd = Remedy("odd", "odd", {"a.b": np.float64(0.5), "c.d": np.int64(3), "e.f": math.nan}, None, math.inf)
    finding = replace(first.finding, nats=Estimate(0.1, 0.0, math.inf), remedies=(odd,))
    event = Event("not_finite", "train_loss", 3.0, 3.0, math.nan, "NaN")
    whole = strict(replace(diagnosis, causes=(replace(first, finding=finding),), events=(event,)))
    assert whole["causes"][0]["nats"] == {"value": 0.1, "low": 0.0, "high": None}
    assert whole["causes"][0]["remedies"][0]["config"] == {"a.b": 0.5, "c.d": 3, "e.f": None}
    assert whole["causes"][0]["remedies"][0]["tokens"] is None
    assert whole["events"][0]["size"] is None


def test_a_path_that_is_no_text_can_be_encoded() -> None:
    json.dumps(to_json(seed_diagnosis.diagnosis("bad\udcff.log")), ensure_ascii=False).encode("utf-8")
