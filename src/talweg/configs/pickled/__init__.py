"""Pickles: torch's checkpoints (ckpt.pt, pytorch_model.bin) and training_args.bin. Nothing in them is executed.

A checkpoint states what it was trained with as far as a dict of settings stands in it (nanoGPT's config and model_args,
an argparse.Namespace, hyper_parameters), and its model by the shapes of its tensors. Of tensors nothing else is read.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from talweg.configs import hugging_face, nanogpt, table
from talweg.configs.nanogpt import Setting
from talweg.configs.pickled.machine import Made, Name, Stored
from talweg.configs.pickled.stored import content, is_pickle
from talweg.configs.pickled.tensors import Tensor, facts_of
from talweg.errors import InputError
from talweg.run import Facts

NAME = "pickled"
# where a checkpoint keeps settings, the surest last; and where its model
SETTINGS = ("hyper_parameters", "hparams", "cfg", "args", "config", "model_args")
MODELS = ("model", "state_dict", "model_state_dict", "module", "model_state", "params", "net")
STEPS = ("iter_num", "iteration", "global_step", "step", "steps")
DEEPEST = 6  # levels of dicts in which settings or tensors are looked for
MOST_ENTRIES = 400_000  # that are looked at
MOST_SETTINGS, MOST_PARTS = 2_000, 64  # of a configuration, and of a list or dict in it
ARGUMENTS = "TrainingArguments", "TrainingConfig", "SFTConfig", "Seq2SeqTrainingArguments"


@dataclass(frozen=True)
class Checkpoint:
    """What stands in it beside the weights. settings: numbers, texts, truth values, and lists and dicts of those."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""  # the class of what the settings stood in, "" of a dict
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    step: int | None = None
    best_val_loss: float | None = None


def sniff(path: Path, head: str) -> float:
    """Never: they are no text."""
    return 0.0


def sniff_raw(path: Path, raw: bytes) -> float:
    return is_pickle(raw)


def read(path: Path) -> Facts:
    """What the settings in it state, and the shapes of its tensors. Raises InputError when it holds neither."""
    found = checkpoint(path)
    name = Path(path).name
    facts = _stated(found, name).over(facts_of(found.tensors, name))
    if not facts.sources:
        raise InputError(f"{path} is a pickle that states no setting of a training run and holds no model")
    return facts


def _stated(found: Checkpoint, name: str) -> Facts:
    """By the trainer whose settings they are."""
    settings = found.settings
    if not settings:
        return Facts()
    source = f"the settings in {name}"
    if found.kind.endswith(ARGUMENTS) or len(hugging_face.OWN_ARGUMENTS & set(settings)) >= 3:
        return hugging_face.facts_of_arguments(settings, source)
    if nanogpt.OWN_KEYS & set(settings):
        return nanogpt.facts({key: Setting(value, source) for key, value in settings.items() if _is_plain(value)})
    return table.facts_of(settings, source)


def checkpoint(path: Path) -> Checkpoint:
    """Raises InputError when the file cannot be read."""
    whole = content(path)
    top = _entries(whole)
    settings: dict[str, Any] = {}
    kind = ""
    for place in SETTINGS:
        inside = top.get(place)
        if inside is not None and (entries := _entries(inside)) and not _has_tensor(entries):
            settings.update(_settings(entries))
            kind = kind or _kind(inside)
    if not settings and isinstance(whole, Made) and not _has_tensor(top):
        settings, kind = _settings(top), _kind(whole)
        if (state := _entries(top.get("distributed_state"))) and isinstance(state.get("num_processes"), int):
            settings["world_size"] = state["num_processes"]
    elif (
        not settings and isinstance(whole, dict) and not any(isinstance(top.get(name), dict | Made) for name in MODELS)
    ):
        settings = {} if _has_tensor(top) else _settings(top)
    model = next((top[name] for name in MODELS if _has_tensor(_entries(top.get(name)))), whole)
    return Checkpoint(
        settings,
        kind,
        dict(_tensors(model)),
        next((top[name] for name in STEPS if type(top.get(name)) is int), None),
        _best(top.get("best_val_loss")),
    )


def _best(value: object) -> float | None:
    """nanoGPT keeps a tensor there, whose number is not in the pickle."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


# ---------------------------------------------------------------- what stand-ins stand for


def _entries(value: Any) -> Mapping[str, Any]:
    """The named parts of a dict, of an object, or of what is one of the two."""
    if isinstance(value, Made):
        state = value.state
        if isinstance(state, tuple) and state and isinstance(state[0], dict):  # with slots
            state = state[0]
        value = {**(value.items or {}), **(state if isinstance(state, dict) else {})}
    if not isinstance(value, dict):
        return {}
    return {name: part for name, part in value.items() if isinstance(name, str)}


def _kind(value: Any) -> str:
    """The name of its class."""
    if not isinstance(value, Made):
        return ""
    of = value.of
    if isinstance(of, Name) and of.module == "copyreg" and isinstance(value.args, tuple) and value.args:
        of = value.args[0]
    return str(of) if isinstance(of, Name) else ""


def _settings(entries: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    return {name: _plain(value, depth) for name, value in islice(entries.items(), MOST_SETTINGS)}


def _plain(value: Any, depth: int = 0) -> Any:
    """The value that a stand-in stands for: of an enumeration its text, of torch.bfloat16 its name; else None."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Name):
        return value.name
    if isinstance(value, Made) and isinstance(value.args, tuple) and len(value.args) == 1 and value.state is None:
        return _plain(value.args[0], depth + 1) if depth < 2 else None
    if depth:  # a dict within a dict is none of settings, and stands perhaps in many places
        return None
    if isinstance(value, list | tuple):
        return [_plain(part, 1) for part in value[:MOST_PARTS]]
    entries = dict(islice(_entries(value).items(), MOST_PARTS))
    return _settings(entries, 1) if entries else None


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float | str)


# ---------------------------------------------------------------- tensors


def _has_tensor(entries: Mapping[str, Any]) -> bool:
    return any(_tensor(value) is not None for value in list(entries.values())[:64])


def _tensors(value: Any) -> Iterator[tuple[str, Tensor]]:
    """All of a state dict, under their whole names; each place is looked at once."""
    seen: set[int] = set()
    level: list[tuple[str, Any]] = [("", value)]
    looked_at = 0
    for _ in range(DEEPEST):
        below: list[tuple[str, Any]] = []
        for above, place in level:
            if id(place) in seen:
                continue
            seen.add(id(place))
            for name, part in _entries(place).items():
                looked_at += 1
                if looked_at > MOST_ENTRIES:
                    return
                whole = f"{above}.{name}" if above else name
                if (tensor := _tensor(part)) is not None:
                    yield whole, tensor
                elif isinstance(part, dict | Made) and name not in ("optimizer", "optimizer_state", "scheduler"):
                    below.append((whole, part))
        level = below


def _tensor(value: Any) -> Tensor | None:
    """A tensor by the call that would have made it."""
    for _ in range(DEEPEST):
        if not isinstance(value, Made) or not isinstance(value.of, Name) or not isinstance(value.args, tuple):
            return None
        name, args = value.of.name, value.args
        if name in ("_rebuild_parameter", "_rebuild_parameter_with_state") and args:
            value = args[0]
        elif name == "_rebuild_from_type_v2" and len(args) >= 3:
            value = Made(args[0], args[2])
        elif name in ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_tensor_v3") and len(args) >= 3:
            return _of_storage(args[0], args[1], args[2])
        else:
            return None
    return None


def _of_storage(storage: Any, offset: Any, shape: Any) -> Tensor | None:
    """A view of a storage: ("storage", its type, key, device, elements)."""
    if isinstance(shape, Made):  # torch.Size((2, 3))
        shape = shape.args[0] if isinstance(shape.args, tuple) and len(shape.args) == 1 else None
    if not isinstance(storage, Stored) or not isinstance(storage.key, tuple) or len(storage.key) < 3:
        return None
    if (
        not isinstance(shape, tuple)
        or len(shape) > 16
        or not all(type(size) is int and 0 <= size < 1 << 48 for size in shape)
    ):
        return None
    of, key = storage.key[1], storage.key[2]
    return Tensor(
        shape, of.name if isinstance(of, Name) else "", (str(key)[:200], offset if type(offset) is int else 0)
    )
