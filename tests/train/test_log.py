"""The run's log file."""

import json
import math
from pathlib import Path

import pytest

from talweg.errors import InputError
from talweg.train.log import Log


def test_a_log_shorter_than_its_checkpoint_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 0}\n')
    with pytest.raises(InputError, match=r"holds 12 bytes, but the checkpoint was taken at 50"):
        Log(path, 50)
    assert path.read_text() == '{"step": 0}\n'


def test_numbers_that_are_not_finite_are_words_wherever_they_stand(tmp_path: Path) -> None:
    numbers = [1.0, math.nan, -math.inf]
    with Log(tmp_path / "log.jsonl", 0) as log:
        log.write({"step": 0, "loss": math.nan, "rank_losses": numbers, "update_ratio": {"all": math.inf}})
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {
        "step": 0,
        "loss": "NaN",
        "rank_losses": [1.0, "NaN", "-Infinity"],
        "update_ratio": {"all": "Infinity"},
    }
