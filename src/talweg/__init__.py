"""Talweg: trains small GPTs, and tells why the loss has stopped falling, in nats, with intervals.

The same words as on the command line: `talweg.read(path)`, `talweg.diagnose(run)`, `talweg.forecast(run)`,
`talweg.prepare(...)`, `talweg.train(...)`. Each is imported when it is first used, so `import talweg` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talweg import train as train
    from talweg.corpus.prepare import prepare as prepare
    from talweg.diagnosis import diagnose as diagnose
    from talweg.evidence import forecast as forecast
    from talweg.follow import follow as follow
    from talweg.readers import read as read

__version__ = "0.1.0"

_HOME = {
    "read": "talweg.readers",
    "diagnose": "talweg.diagnosis",
    "forecast": "talweg.evidence",
    "follow": "talweg.follow",
    "prepare": "talweg.corpus.prepare",
}


def __getattr__(name: str) -> Any:
    if name == "train":  # a package that can be called, so it is reached by import alone
        return import_module("talweg.train")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'talweg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, "train"])
