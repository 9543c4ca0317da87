"""Frozen dataclasses from what JSON holds: nested, checked, and clear about what is missing."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from talweg.errors import InputError

_T = TypeVar("_T")


def build(kind: type[_T], value: Any, path: Path, where: str = "") -> _T:
    """An instance of the dataclass `kind` from what JSON gave; keys that it does not know are left alone.

    path, where: of the value, for the message of the InputError that it raises when something is missing or of another
    type.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{path}: {where} is not a table; run talweg prepare again")
    hints, given = get_type_hints(kind), {}
    for f in fields(kind):  # type: ignore[arg-type]  # every kind asked for is a dataclass
        name = f"{where}.{f.name}" if where else f.name
        if f.name in value:
            given[f.name] = _value(hints[f.name], value[f.name], name, path)
        elif f.default is MISSING:
            raise InputError(f"{path} has no {name}; run talweg prepare again")
    return kind(**given)


def _value(hint: Any, value: Any, name: str, path: Path) -> Any:
    if type(None) in get_args(hint):
        if value is None:
            return None
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    if is_dataclass(hint):
        return build(hint, value, path, name)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise InputError(f"{path}: {name} is not a list; run talweg prepare again")
        item = get_args(hint)[0]
        return tuple(_value(item, each, f"{name}[{i}]", path) for i, each in enumerate(value))
    fits = isinstance(value, int | float if hint is float else hint) and isinstance(value, bool) == (hint is bool)
    if not fits:
        raise InputError(f"{path}: {name} is {value!r}, not a {hint.__name__}; run talweg prepare again")
    return value
