"""The JSON of a diagnosis: a contract. Fields are added, never renamed; what is not known is null, never 0 or NaN."""

import math
from collections.abc import Mapping
from typing import Any

import talweg
from talweg.diagnosis import Cause, Diagnosis, Event
from talweg.estimate import Estimate
from talweg.evidence import Next, Smallest
from talweg.finding import Remedy
from talweg.report.view import num_epochs


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as strict JSON: `json.dumps(..., allow_nan=False)` takes it. Keys as in the documentation."""
    now, expected, forecast = diagnosis.now, diagnosis.expected, diagnosis.forecast
    result: dict[str, Any] = {
        "talweg": talweg.__version__,
        "run": _run(diagnosis),
        "state": diagnosis.state,
        "state_because": diagnosis.why,
        "headline": diagnosis.headline,
        "now": now
        and {
            "step": _count(now.step),
            "train": _estimate(now.train),
            "val": _estimate(now.val),
            "trend": now.trend and {**_numbers(now.trend), "per": "1000 steps"},
            "probability_of_rise": now.probability_of_rise,
            "next_hundredth": _next(now.next_hundredth),
            "smallest_change": _smallest(now.smallest),
        },
        "expected": expected and {**_numbers(expected.loss), "because": expected.because},
        "forecast": forecast
        and {"step": _count(forecast.step), **_numbers(forecast.loss), "because": forecast.because},
        "causes": [_cause(cause) for cause in diagnosis.causes],
        "unknown": [_unknown(cause) for cause in diagnosis.by_verdict("unknown")],
        "readings": [{"name": r.name, "because": r.because} for r in diagnosis.readings],
        "myths": [{"claim": m.claim, "reading": m.reading} for m in diagnosis.myths],
        "events": [_event(event) for event in diagnosis.events],
    }
    strict = _strict(result)
    assert isinstance(strict, dict)
    return strict


def _run(diagnosis: Diagnosis) -> dict[str, Any]:
    run, facts = diagnosis.run, diagnosis.run.facts
    return {
        "source": run.source,
        "format": run.format,
        "steps": _count(run.last_step),
        "planned_steps": _count(facts.planned_steps),
        "parameters": _count(facts.parameters),
        "tokens_per_step": _count(facts.tokens_per_step),
        "tokens_seen": _count(run.tokens_seen),
        "unique_tokens": _count(facts.unique_tokens),
        "epochs": num_epochs(run),
        "lines": run.reading.lines,
        "lines_not_understood": run.reading.lines_not_understood,
        "notes": list(run.reading.notes),
    }


def _numbers(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _count(value: float | None) -> float | None:
    """Steps, tokens and parameters as integers where they are whole."""
    return int(value) if value is not None and math.isfinite(value) and float(value).is_integer() else value


def _estimate(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else _numbers(estimate)


def _next(found: Next | None) -> dict[str, Any] | None:
    """Until the loss is 0.01 nats lower; a `high` of null has no bound."""
    if found is None:
        return None
    return {"steps": _estimate(found.steps), "tokens": _estimate(found.tokens), "hours": _estimate(found.hours)}


def _smallest(found: Smallest | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"per_1000_steps": found.per_1000_steps, "rest_of_plan": found.rest_of_plan, "power": 0.8}


def _cause(cause: Cause) -> dict[str, Any]:
    finding = cause.finding
    return {
        "name": cause.name,
        "group": cause.group,
        "summary": cause.summary,
        "verdict": finding.verdict,
        "nats": _estimate(finding.nats),
        "because": finding.because,
        "refuted_by": cause.refuted_by,
        "remedies": [_remedy(remedy) for remedy in finding.remedies],
        "needs": list(finding.needs),
        "would_narrow_nats": finding.would_narrow_nats,
        "steps": [_count(step) for step in finding.steps] if finding.steps else None,
    }


def _remedy(remedy: Remedy) -> dict[str, Any]:
    return {
        "name": remedy.name,
        "change": remedy.change,
        "config": dict(remedy.config),
        "gain": _estimate(remedy.gain),
        "tokens": _count(remedy.tokens),
        "compute_factor": remedy.compute_factor,
    }


def _unknown(cause: Cause) -> dict[str, Any]:
    finding = cause.finding
    return {
        "name": cause.name,
        "needs": list(finding.needs),
        "would_narrow_nats": finding.would_narrow_nats,
        "because": finding.because,
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "series": event.series,
        "first_step": _count(event.first_step),
        "last_step": _count(event.last_step),
        "size": event.size,
        "because": event.because,
        "seen_in": event.seen_in or None,
        "period": event.period,
        "significance": event.significance,
    }


def _strict(value: Any) -> Any:
    """Plain JSON types: numpy scalars unpacked, NaN and infinity as null, everything else as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):  # bytes of a path that are no text would not encode as UTF-8
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        return _strict(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
