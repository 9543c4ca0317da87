"""A log that another process is still writing."""

import threading
import time
from pathlib import Path

import pytest

from talweg.errors import InputError
from talweg.follow import follow

LINE = "iter {step}: loss {loss:.4f}, time 3900.00ms, mfu 1.00%\n"


def line(step: int) -> str:
    return LINE.format(step=step, loss=9.0 - step / 100)


def test_each_change_is_told_and_a_cut_line_is_held_back(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(line(0) + line(1))
    runs = follow(path, every=0.01)
    assert next(runs).last_step == 1
    with path.open("a") as file:
        file.write(line(2) + line(3)[:20])
    assert next(runs).last_step == 2
    with path.open("a") as file:
        file.write(line(3)[20:])
    third = next(runs)
    assert third.last_step == 3
    assert third.train_loss.value.tolist() == [9.0, 8.99, 8.98, 8.97]


def test_a_log_that_is_still_empty_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.touch()
    later = threading.Timer(0.2, path.write_text, [line(0) + line(1)])
    later.start()
    assert next(follow(path, every=0.01)).last_step == 1
    later.join()


def test_a_log_that_grows_while_it_is_read_never_tells_an_invented_point(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(line(0) + line(1))
    stop = threading.Event()

    def write() -> None:
        text = "".join(line(step) for step in range(2, 4000))
        with path.open("a", buffering=1) as file:
            for start in range(0, len(text), 37):  # pieces that end anywhere in a line
                file.write(text[start : start + 37])
                file.flush()
                if stop.is_set():
                    return
                time.sleep(0.0002)

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    try:
        for run in follow(path, every=0.005):
            expected = [float(f"{9.0 - step / 100:.4f}") for step in run.train_loss.step]
            assert run.train_loss.value.tolist() == expected
            seen += 1
            if seen > 10:
                break
    finally:
        stop.set()
        writer.join()
    assert seen > 10


def test_what_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        next(follow(tmp_path / "nothing.log"))


def test_standard_input_cannot_be_followed() -> None:
    with pytest.raises(InputError, match="cannot be followed"):
        next(follow("-"))
