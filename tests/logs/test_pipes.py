"""Logs that come through a pipe, as `<(command)` of a shell: they can be read but once."""

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from talweg.errors import InputError
from talweg.follow import follow
from talweg.readers import read

LOG = b"".join(b"iter %d: loss %.4f, time 39.00ms, mfu 1.00%%\n" % (step, 9 - step / 100) for step in range(20))


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_pipe_is_read_as_a_file_is(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(packed(LOG),))
    writer.start()
    run = read(pipe)
    writer.join()
    assert run.format == "nanogpt"
    assert run.train_loss.value.tolist() == pytest.approx([9 - step / 100 for step in range(20)])


def test_what_needs_a_file_says_so_of_a_pipe(tmp_path: Path) -> None:
    pipe, log = tmp_path / "pipe", tmp_path / "train.log"
    os.mkfifo(pipe)
    log.write_bytes(LOG)
    with pytest.raises(InputError, match="is a pipe, which can be read but once; give a file here"):
        read(log, config=pipe)
    with pytest.raises(InputError, match="is a pipe, which cannot be followed"):
        next(follow(pipe))
