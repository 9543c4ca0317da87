"""Talweg's own log: records of different kinds, resumes, values that are not finite."""

import json
import math
from pathlib import Path

import pytest

from talweg.errors import InputError
from talweg.readers import read
from tests.readers.test_nanogpt import points, written

FACTS = {"parameters": 1.5e6, "layers": 4, "tokens_per_step": 8192.0, "planned_steps": 100, "schedule": "cosine"}
RECORDS = [
    {"talweg": "0.1.0", "step": 0, "facts": FACTS},
    {"step": 0, "val_loss": 9.0, "val_standard_error": 0.01, "val_bits_per_byte": 2.9, "train_eval_loss": 9.01},
    {"step": 0, "loss": 9.02, "lr": 0.001, "grad_norm": 1.5, "tokens": 0, "seconds_per_step": 0.25},
    {"step": 1, "loss": 8.5, "lr": 0.002, "grad_norm": "Infinity", "tokens": 8192, "seconds_per_step": 0.25},
    {"step": 2, "loss": "NaN", "lr": 0.003, "grad_norm": "NaN", "tokens": 16384, "seconds_per_step": 0.25},
    {"step": 3, "val_loss": 8.0, "val_standard_error": 0.01, "train_eval_loss": 7.9},
]


def log(folder: Path, records: list[dict[str, object]], end: str = "\n") -> Path:
    return written(folder, "\n".join(map(json.dumps, records)) + end, "log.jsonl")


def test_a_log_and_its_run_folder_are_the_same_run(tmp_path: Path) -> None:
    path = log(tmp_path, RECORDS)
    for run in (read(path), read(tmp_path)):
        assert run.format == "talweg"
        assert run.train_loss.kind == "batch"
        assert run.train_loss.step.tolist() == [0, 1, 2]
        assert run.train_loss.value[:2].tolist() == [9.02, 8.5]
        assert math.isnan(run.train_loss.value[2])
        assert math.isinf(run.grad_norm.value[1])
        assert points(run.val_loss) == {0: 9.0, 3: 8.0}
        assert points(run.train_eval_loss) == {0: 9.01, 3: 7.9}
        assert points(run.val_standard_error) == {0: 0.01, 3: 0.01}
        assert points(run.learning_rate) == {0: 0.001, 1: 0.002, 2: 0.003}
        assert run.facts.parameters == 1.5e6
        assert run.facts.sources["layers"] == "log.jsonl, start at step 0"
        assert run.reading.notes == ()
        assert run.reading.lines_not_understood == 0
    assert read(tmp_path).source == str(tmp_path)


def test_a_resume_goes_on_and_its_facts_hold(tmp_path: Path) -> None:
    again: list[dict[str, object]] = [
        {"talweg": "0.1.0", "step": 1, "facts": {**FACTS, "planned_steps": 200}},
        {"step": 1, "loss": 8.6, "lr": 0.002},
        {"step": 2, "loss": 8.1, "lr": 0.003},
    ]
    run = read(log(tmp_path, [*RECORDS, *again]))
    assert points(run.train_loss) == {0: 9.02, 1: 8.6, 2: 8.1}
    assert run.facts.planned_steps == 200
    assert run.facts.conflicts == {"planned_steps": "100 (log.jsonl, start at step 0)"}
    assert any("loss: the log goes back to step 1" in note for note in run.reading.notes)
    assert any("other values hold for planned_steps" in note for note in run.reading.notes)


def test_a_cut_last_line_is_left_out(tmp_path: Path) -> None:
    run = read(log(tmp_path, RECORDS, end='\n{"step": 4, "loss": 7.9'))
    assert run.last_step == 3
    assert run.reading.notes == ("the last line is cut off in the middle and was left out",)


def test_garbage_lines_are_passed_over(tmp_path: Path) -> None:
    path = log(tmp_path, RECORDS)
    path.write_text(path.read_text().replace("\n", '\ngarbage\n{"step": "x", "loss": 1.0}\n[3]\n', 1))
    run = read(path)
    assert len(run.train_loss) == 3
    assert run.reading.lines_not_understood == 3


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no loss yet"):
        read(log(tmp_path, RECORDS[:1]))


def test_the_manifest_completes_the_facts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    manifest = {"format": "talweg-tokens-1", "train": {"tokens": 5000, "unique_tokens": 4000}, "val": {"tokens": 100}}
    written(data, json.dumps(manifest), "manifest.json")
    facts = read(log(tmp_path, RECORDS), data=data).facts
    assert (facts.unique_tokens, facts.val_tokens, facts.layers) == (4000, 100, 4)


def test_there_are_no_columns_to_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="columns are known"):
        read(log(tmp_path, RECORDS), loss_column="loss")


def test_what_a_record_says_of_numerics_speed_and_ranks(tmp_path: Path) -> None:
    told: dict[str, object] = {"clip_scale": 0.5, "max_logit": 31.0, "loss_scale": 65536.0, "skipped_steps": 3}
    told |= {"loader_seconds": 0.02, "tokens_per_second": 4e5, "mfu": 0.31, "rank_weight_spread": 0.0}
    told |= {"update_ratio": {"all": 2e-3, "embedding": 1e-2}, "rank_losses": [4.1, 4.5, 4.2]}
    records: list[dict[str, object]] = [
        {"step": 0, "loss": 4.3, **told},
        {"step": 1, "loss": 4.3, "rank_losses": [4.1, "NaN"], "update_ratio": {"embedding": 1.0}},
    ]
    run = read(log(tmp_path, [*RECORDS[:1], *records]))
    for name in (
        "clip_scale",
        "max_logit",
        "loss_scale",
        "skipped_steps",
        "loader_seconds",
        "tokens_per_second",
        "mfu",
    ):
        assert points(getattr(run, name)) == {0: told[name]}
    assert points(run.rank_weight_spread) == {0: 0.0}
    assert points(run.update_ratio) == {0: 2e-3}
    assert run.rank_loss_spread.value[0] == pytest.approx(0.4)
    assert math.isnan(run.rank_loss_spread.value[1])


def test_groups_of_weights_that_never_move(tmp_path: Path) -> None:
    """The warm-up's first update may be 0 for all; a group is still only where the others move."""
    still = {"all": 0.0, "matrices": 0.0, "embedding": 0.0}
    moving = {"all": 2e-3, "matrices": 1e-3, "embedding": 0.0}
    records = [{"step": i, "loss": 4.0, "update_ratio": moving if i else still} for i in range(4)]
    assert read(log(tmp_path, [*RECORDS[:1], *records])).facts.unmoved_groups == ("embedding",)
    assert read(log(tmp_path, [*RECORDS[:1], *records[:3]])).facts.unmoved_groups is None
    records[2]["update_ratio"] = {"all": 2e-3, "matrices": 1e-3, "embedding": 1e-9}
    assert read(log(tmp_path, [*RECORDS[:1], *records])).facts.unmoved_groups == ()
    assert read(log(tmp_path, RECORDS)).facts.unmoved_groups is None


def test_a_start_after_step_0_is_a_resume(tmp_path: Path) -> None:
    assert read(log(tmp_path, RECORDS)).facts.resumed_at == ()
    again = [{"talweg": "0.1.0", "step": 3, "facts": {**FACTS, "ranks": 2}}, {"step": 3, "loss": 8.0}]
    facts = read(log(tmp_path, [*RECORDS, *again])).facts
    assert (facts.resumed_at, facts.ranks) == ((3,), 2)


def test_the_last_word_on_the_length_of_a_run_in_minutes_holds(tmp_path: Path) -> None:
    plans = ({"planned_steps": 60, "warmup_steps": 6}, {"planned_steps": 3, "warmup_steps": 1})
    told = [{**RECORDS[1], "plan": plans[0]}, {**RECORDS[5], "plan": plans[1]}]
    run = read(log(tmp_path, [RECORDS[0], told[0], *RECORDS[2:5], told[1]]))
    assert (run.facts.planned_steps, run.facts.warmup_steps, run.facts.layers) == (3, 1, 4)
    assert run.facts.sources["planned_steps"] == "log.jsonl, step 3"
    assert not run.facts.conflicts  # a guess that became a better one is no contradiction
    assert run.facts.resumed_at == ()
