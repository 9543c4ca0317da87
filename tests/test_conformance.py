"""What readers of other packages are tested with: our own keep it, and a reader that breaks a rule is told which."""

import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talweg.conformance import check_reader
from talweg.logs.given import Asked, Head, Log
from talweg.readers import formats, nanogpt
from talweg.run import Facts, Run, Series
from tests.conftest import shared
from tests.readers.messes import DOCUMENT, WHERE, sample

READERS = {
    "nanogpt": ("nanogpt", "seed_run"),
    "llmc": ("llmc_main", "llmc_stdout"),
    "nanochat": ("nanochat",),
    "modded_nanogpt": ("modded_nanogpt",),
    "litgpt": ("litgpt",),
    "hugging_face": ("hugging_face", "axolotl", "trainer_state"),
    "torchtitan": ("torchtitan",),
    "megatron": ("megatron", "gpt_neox", "bigscience"),
    "nanotron": ("nanotron",),
    "keras": ("keras_stdout",),
    "table": ("csv", "jsonl", "lightning"),
}
LOG = "".join(f"iter {10 * n}: loss {5 - n / 7:.4f}, time 3900.00ms, mfu 12.00%\n" for n in range(12)).encode()


@pytest.mark.parametrize("name", READERS)
def test_our_own_readers_keep_it(name: str) -> None:
    samples = {which: sample(which, shared).text.encode() for which in READERS[name]}
    check_reader(formats()[name], samples, knows_kind=name != "table")  # type: ignore[arg-type]


def test_every_text_sample_is_of_a_reader() -> None:
    known = {which for samples in READERS.values() for which in samples}
    assert known >= {name for name, (_, form, *_) in WHERE.items() if form != DOCUMENT} - {"panel", "keras_csv"}


def broken(**changes: object) -> types.SimpleNamespace:
    parts: dict[str, object] = {"NAME": "nanogpt", "__doc__": "A format.", "sniff": nanogpt.sniff, "read": nanogpt.read}
    return types.SimpleNamespace(**{**parts, **changes})


def read_then(change: object) -> object:
    assert callable(change)
    return lambda log, asked: change(nanogpt.read(log, asked), log)


def with_train(run: Run, **changes: object) -> Run:
    return replace(run, train_loss=replace(run.train_loss, **changes))  # type: ignore[arg-type]


def of_the_last_line(run: Run, log: Log) -> Run:
    """It takes a number that is cut off for a number."""
    last = log.text.split("\n")[-1]
    if not last.startswith("iter 110: loss "):
        return run
    value = float(last.split()[3].rstrip(",") or 0)
    series = run.train_loss
    step = np.append(series.step[series.step < 110], 110.0)
    return with_train(run, step=step, value=np.append(series.value[: step.size - 1], value))


def of_the_network(run: Run, log: Log) -> Run:
    import socket

    socket.create_connection(("127.0.0.1", 9))
    return run


def slow(run: Run, log: Log) -> Run:
    num = log.text.count("\n")
    sum(1 for _ in range(num) for _ in range(num // 24))
    return run


def without_nan(run: Run, log: Log) -> Run:
    return replace(run, train_loss=run.train_loss.finite)


def crash(log: Log, asked: Asked) -> Run:
    raise KeyError("loss")


RULES: tuple[tuple[str, dict[str, object]], ...] = (
    ("NAME is no name", {"NAME": "My Format"}),
    ("has no docstring", {"__doc__": ""}),
    ("no function sniff", {"sniff": None}),
    ("sniff takes prose for its own", {"sniff": lambda head: 0.9 * ("loss" in head.text)}),
    ("sniff takes nothing for its own", {"sniff": lambda head: 0.9}),
    ("a number from 0 to 1", {"sniff": lambda head: 7.0}),
    ("more than 0.5 was needed", {"sniff": lambda head: 0.0}),
    ("KeyError: 'loss'; what cannot be read raises InputError", {"read": crash}),
    ("the format is given as ''", {"read": read_then(lambda run, log: replace(run, format=""))}),
    ("no loss was read", {"read": read_then(lambda run, log: Run(format="nanogpt"))}),
    ("the steps do not ascend", {"read": read_then(lambda run, log: with_train(run, step=run.train_loss.step[::-1]))}),
    ("kind does not say", {"read": read_then(lambda run, log: with_train(run, kind="unknown"))}),
    ("'epoch' is no kind", {"read": read_then(lambda run, log: with_train(run, kind="epoch"))}),
    ("fact seed has no source", {"read": read_then(lambda run, log: replace(run, facts=Facts(seed=1)))}),
    ("has points that the whole log has not", {"read": read_then(of_the_last_line)}),
    ("reaches for the network", {"read": read_then(of_the_network)}),
    ("times as long", {"read": read_then(slow)}),
    ("NaN is a value that was logged", {"read": read_then(without_nan)}),
)


@pytest.mark.parametrize(("message", "changes"), RULES, ids=[message for message, _ in RULES])
def test_a_reader_that_breaks_a_rule_is_told_which(message: str, changes: dict[str, object]) -> None:
    with pytest.raises(AssertionError) as error:
        check_reader(broken(**changes), {"short": LOG})  # type: ignore[arg-type]
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_reader_that_keeps_the_rules() -> None:
    check_reader(broken(), {"short": LOG})  # type: ignore[arg-type]


def test_a_note_of_two_lines_and_a_log_read_differently_each_time() -> None:
    count = iter(range(1000))
    noted = read_then(lambda run, log: replace(run, reading=replace(run.reading, notes=("a\nb",))))
    other = read_then(lambda run, log: with_train(run, value=run.train_loss.value + next(count)))
    for reader, message in ((broken(read=noted), "a note is one line"), (broken(read=other), "read twice, it differs")):
        with pytest.raises(AssertionError, match=message):
            check_reader(reader, {"short": LOG})  # type: ignore[arg-type]


def test_it_needs_no_test_framework() -> None:
    import talweg.conformance

    assert "pytest" not in Path(talweg.conformance.__file__).read_text(encoding="utf-8")
    assert isinstance(Head().names, tuple)
    assert Series().kind == "unknown"
