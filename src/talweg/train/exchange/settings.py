"""config.json of an HF folder, asked one key at a time: what is no number, or not what we compute, is one line."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from talweg.errors import InputError

LARGEST = 10**7  # our choice: no size of a model is larger, and their products still fit into 64 bits


def whole(value: object, name: str, where: Path) -> int:
    """A size. Raises InputError for what is none."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
        raise InputError(f"{where} has {name} = {value!r}; needed a whole number from 1 to {LARGEST:,}")
    return value


class Settings:
    """The keys of a config.json, and where it lies."""

    def __init__(self, values: Mapping[str, Any], where: Path) -> None:
        self.values, self.where = values, where

    def whole(self, name: str, default: int | None = None) -> int:
        value = self.values.get(name)
        value = default if value is None else value
        return whole(value, name, self.where)

    def number(self, name: str, default: float) -> float:
        value = self.values.get(name)
        value = default if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
            raise InputError(f"{self.where} has {name} = {value!r}; needed a number above 0")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise InputError(f"{self.where} has {name} = {value!r}; needed true or false")
        return default if value is None else value

    def one_of(self, name: str, known: Mapping[str, str], default: str) -> str:
        """Our word for the value of `name`. Raises InputError for one that we do not compute."""
        value = self.values.get(name)
        value = default if value is None else value
        if not isinstance(value, str) or value not in known:
            raise InputError(f"{self.where} has {name} = {value!r}; known are {', '.join(known)}")
        return known[value]

    def must_be(self, wanted: Mapping[str, Any]) -> None:
        """Raises InputError where a key has another value than the only one that we compute; absent is that one."""
        for name, value in wanted.items():
            found = self.values.get(name)
            if found is not None and found != value:
                raise InputError(f"{self.where} has {name} = {found!r}; only {value!r} is known here")
