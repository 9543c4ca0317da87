"""Pickles are read without anything in them being executed; what is damaged or made to harm is one clear line."""

import argparse
import enum
import io
import os
import pickle
import random
import time
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from talweg.configs import kind_of, pickled, read_facts
from talweg.configs.pickled import checkpoint, machine
from talweg.configs.pickled.machine import Made, Name, unpickled
from talweg.errors import InputError

SETTINGS = {
    **{"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 16, "vocab_size": 100, "bias": True, "batch_size": 12},
    **{"gradient_accumulation_steps": 4, "max_iters": 100, "learning_rate": 6e-4, "min_lr": 6e-5, "decay_lr": True},
    **{"lr_decay_iters": 100, "warmup_iters": 10, "dtype": "bfloat16", "dataset": "owt"},
}


def stored(path: Path, raw: bytes) -> Path:
    """As torch stores a pickle since version 1.6."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", raw)
        archive.writestr("archive/version", b"3\n")
    return path


class Kind(enum.Enum):
    COSINE = "cosine"


class Arguments:
    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)


class Harmful:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_values_are_those_of_pickle_itself(protocol: int) -> None:
    """Of every protocol, sizes in every width, texts in every form."""
    values = {
        "whole": [0, 1, -1, 255, 256, 65_535, 65_536, 2**31, -(2**31), 2**70, -(2**200)],
        "real": [0.0, -1.5, 1e300, float("inf")],
        "text": ["", "a", "ä" * 300, "line\nbreak", "x" * 70_000],
        "more": [True, False, None, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {"a": {"b": []}, 300: 1}, [[]] * 3],
    }
    assert unpickled(pickle.dumps(values, protocol), "x")[0] == values


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_nothing_in_it_is_executed(tmp_path: Path, protocol: int) -> None:
    """The same bytes do it when pickle loads them."""
    mark = tmp_path / "done"
    raw = pickle.dumps({"config": SETTINGS, "evil": Harmful(mark)}, protocol)
    for path in (stored(tmp_path / "ckpt.pt", raw), tmp_path / "plain.pkl"):
        if path.suffix == ".pkl":
            path.write_bytes(raw)
        if protocol >= 2 or path.suffix == ".pt":
            assert read_facts(path).layers == 2
        assert checkpoint(path).settings["n_layer"] == 2
        assert not mark.exists()
    pickle.loads(raw)
    assert mark.exists()


def test_objects_and_calls_are_stand_ins() -> None:
    found, _ = unpickled(pickle.dumps([Arguments(a=1, kind=Kind.COSINE), OrderedDict(b=2), {3}], 4), "x")
    assert isinstance(found[0], Made)
    assert found[0].of == Name("tests.configs.test_pickled", "Arguments")
    assert found[0].state["a"] == 1
    assert found[0].state["kind"].args == ("cosine",)
    assert found[1].items == {"b": 2}
    assert found[2] == [3]


def test_a_checkpoint_of_nanogpt(tmp_path: Path) -> None:
    raw = pickle.dumps({"config": SETTINGS, "iter_num": 77, "best_val_loss": 3.25, "model_args": {"n_layer": 2}}, 2)
    path = stored(tmp_path / "ckpt.pt", raw)
    assert kind_of(path).NAME == "pickled"
    facts = read_facts(path)
    assert (facts.layers, facts.context, facts.planned_steps, facts.schedule) == (2, 16, 100, "cosine")
    assert facts.tokens_per_step == 12 * 4 * 16
    assert facts.sources["layers"] == "the settings in ckpt.pt"
    assert (checkpoint(path).step, checkpoint(path).best_val_loss) == (77, 3.25)


def test_the_arguments_of_a_trainer(tmp_path: Path) -> None:
    TrainingArguments = type("TrainingArguments", (Arguments,), {"__module__": __name__})
    globals()["TrainingArguments"] = TrainingArguments
    made = TrainingArguments(
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=5e-5,
        max_steps=60,
        lr_scheduler_type=Kind.COSINE,
        optim="adamw_torch_fused",
        bf16=True,
        warmup_steps=0.1,
        distributed_state=Arguments(num_processes=8),
    )
    path = tmp_path / "training_args.bin"
    path.write_bytes(pickle.dumps(made, 4))
    facts = read_facts(path)
    assert (facts.micro_batch, facts.accumulation, facts.ranks, facts.planned_steps) == (4, 16, 8, 60)
    assert (facts.schedule, facts.warmup_steps, facts.optimizer, facts.precision) == ("cosine", 6, "adamw", "bf16")


def test_settings_of_another_trainer(tmp_path: Path) -> None:
    """Megatron keeps an argparse.Namespace."""
    options = argparse.Namespace(num_layers=12, hidden_size=768, lr=3e-4, train_iters=1000, seq_length=1024)
    facts = read_facts(stored(tmp_path / "model.pt", pickle.dumps({"args": options, "iteration": 10}, 2)))
    assert (facts.layers, facts.width, facts.planned_steps, facts.context) == (12, 768, 1000, 1024)


# ---------------------------------------------------------------- with torch


def gpt(torch: Any) -> Any:
    """Tied head, a learned position for each, a causal mask as a buffer."""
    model = torch.nn.Module()
    model.wte, model.wpe, model.lm_head = torch.nn.Embedding(100, 8), torch.nn.Embedding(16, 8), torch.nn.Linear(8, 100)
    model.lm_head.weight = model.wte.weight
    model.h = torch.nn.ModuleList([torch.nn.Linear(8, 8) for _ in range(3)])
    for block in model.h:
        block.attn = torch.nn.Module()
        block.attn.register_buffer("bias", torch.ones(1, 1, 16, 16))
    return model


@pytest.mark.parametrize("new", [True, False])
def test_parameters_are_counted_as_torch_counts_them(tmp_path: Path, new: bool) -> None:
    torch = pytest.importorskip("torch")
    model = gpt(torch)
    expected = sum(parameter.numel() for parameter in model.parameters()) - 16 * 8
    for state in (model.state_dict(), {"model": model.state_dict(), "optimizer": {"x": torch.ones(5)}}):
        torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        facts = read_facts(tmp_path / "a.pt")
        assert facts.parameters == expected
        assert (facts.vocabulary_size, facts.width, facts.context, facts.layers) == (100, 8, 16, 3)
        assert facts.tied_embeddings is True


def test_a_head_of_its_own_is_counted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = gpt(torch)
    model.lm_head = torch.nn.Linear(8, 100)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "a.pt")
    facts = read_facts(tmp_path / "a.pt")
    assert facts.tied_embeddings is False
    assert facts.parameters == sum(parameter.numel() for parameter in model.parameters()) - 16 * 8


def test_parameters_themselves_are_tensors(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.nn.Parameter(torch.ones(3, 5)), "dtype": torch.bfloat16}, tmp_path / "a.pt")
    assert read_facts(tmp_path / "a.pt").parameters == 15


# ---------------------------------------------------------------- damage, and what is made to harm


def test_a_checkpoint_without_settings_or_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="states no setting of a training run and holds no model"):
        read_facts(stored(tmp_path / "a.pt", pickle.dumps({"x": 1}, 2)))


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.pt", pickle.dumps({"config": SETTINGS}, 2))
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match="is damaged: its archive cannot be read"):
        pickled.read(path)
    with pytest.raises(InputError, match="its pickle breaks off"):
        pickled.read(stored(path, pickle.dumps({"config": SETTINGS}, 2)[:-20]))


def doubled(levels: int) -> bytes:
    """A tuple of two that are one, of two that are one, ...: small, and of 2^levels parts; then the key of a dict."""
    out = io.BytesIO()
    out.write(b"\x80\x02}K\x01")
    for _ in range(levels):
        out.write(b"2\x86")
    out.write(b"K\x01s.")
    return out.getvalue()


@pytest.mark.parametrize(
    "raw",
    [
        doubled(100),
        b"\x80\x02" + b"(" * 300_000 + b"t" * 300_000 + b"}0.",  # nested without end
        b"\x80\x04\x96" + b"\xff" * 7 + b"\x7f.",  # 2^63 bytes
        b"\x80\x02Nr\xff\xff\xff\xff.",  # a place in the memo far out
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x02I" + b"9" * 100_000 + b"\n.",
        b"\x80\x02" + b"N0" * 3_000_000 + b"N.",  # too many instructions
        b"\x80\x02(.",
        b"\x80\x02.",
        b"",
    ],
)
def test_a_pickle_that_asks_for_too_much_is_refused_at_once(tmp_path: Path, raw: bytes) -> None:
    start = time.monotonic()
    with pytest.raises(InputError):
        pickled.read(stored(tmp_path / "a.pt", raw))
    assert time.monotonic() - start < 10


def test_an_archive_that_unpacks_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talweg.configs.pickled.stored.LARGEST", 1 << 16)
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"N0" * (1 << 20))
    with pytest.raises(InputError, match="holds a pickle of more than"):
        pickled.read(tmp_path / "a.pt")


def test_shared_settings_do_not_grow_when_they_are_read(tmp_path: Path) -> None:
    """A dict that holds one dict many times, which holds one many times: 60^12 entries for one that walks it."""
    inner: dict[str, Any] = {"learning_rate": 1e-3}
    for _ in range(12):
        inner = {f"k{place}": inner for place in range(60)}
    start = time.monotonic()
    with pytest.raises(InputError):
        pickled.read(stored(tmp_path / "a.pt", pickle.dumps({"config": inner}, 2)))
    assert time.monotonic() - start < 5


def test_no_bytes_break_it(tmp_path: Path) -> None:
    """Pickles changed at random, and bytes at random: InputError or a Facts, nothing else."""
    rng = random.Random(0)
    whole = {
        "config": SETTINGS,
        "args": Arguments(a=[1, 2], kind=Kind.COSINE),
        "model": OrderedDict(a=(1, 2)),
        "x": {1},
    }
    sound = [pickle.dumps(whole, protocol) for protocol in (0, 2, 4)]
    path = tmp_path / "a.bin"
    for _ in range(600):
        raw = bytearray(rng.choice(sound))
        for _ in range(rng.randint(1, 8)):
            raw[rng.randrange(len(raw))] = rng.choice((rng.randrange(256), *machine.INSTRUCTIONS))
        if rng.random() < 0.2:
            raw = bytearray(b"\x80\x02" + rng.randbytes(rng.randint(0, 200)))
        path.write_bytes(raw)
        told = ""
        try:
            pickled.read(path)
        except InputError as error:
            told = str(error)
        assert "\n" not in told


@pytest.mark.parametrize(
    ("raw", "is_one"),
    [
        (b"", False),
        (b"\x80\x02", False),
        (b"\x80\x02\x10\x20" * 100, False),  # token 640, ...
        (b"PK\x03\x04" + b"\0" * 100, False),
        (pickle.dumps({"a": 1}, 4), True),
        (pickle.dumps({"a": 1}, 2), True),
        (b"n_layer = 12\n", False),
    ],
)
def test_what_is_taken_for_a_pickle(raw: bytes, is_one: bool) -> None:
    assert (pickled.sniff_raw(Path("x"), raw) > 0) is is_one
