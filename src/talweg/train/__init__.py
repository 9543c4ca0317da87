"""Training: `talweg.train(config)` yields the records of the run. The package itself can be called."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talweg.train.config import Config


class _Train(ModuleType):
    def __call__(self, config: "Config") -> "Iterator[dict[str, Any]]":
        """The records of the run, as `talweg.train.loop.train`."""
        from talweg.train.loop import train

        return train(config)


sys.modules[__name__].__class__ = _Train
