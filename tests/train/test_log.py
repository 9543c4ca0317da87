"""The run's log file."""

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
