"""Where in a file its pickle stands: torch's zip archives, torch's older files, and pickles as they are."""

import zipfile
from pathlib import Path
from typing import Any

from talweg.configs.pickled.machine import unpickled
from talweg.errors import InputError
from talweg.textfile import Decompressed

LARGEST = 1 << 26  # bytes of a pickle; its tensors stand beside it
ZIP = b"PK\x03\x04"
MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that torch's older files begin with, as a pickle
# instructions that a pickle of protocol 2 to 5 begins with, behind its protocol
BEGINS = b"}]()c\x95\x8a\x8c\x8fNKMJXUB"


def is_pickle(raw: bytes) -> float:
    """How surely a file that begins so holds a pickle that may be read here."""
    if raw.startswith(ZIP):
        name = raw[30 : 30 + int.from_bytes(raw[26:28], "little")]
        return 0.95 if name.endswith(b"data.pkl") or b"/data.pkl" in raw[:4096] or b"data.pklF" in raw[:4096] else 0.0
    if raw.startswith(MAGIC):
        return 0.95
    if len(raw) < 5 or raw[0] != 0x80 or raw[1] not in (2, 3, 4, 5) or raw[2] not in BEGINS:
        return 0.0
    if raw[2] == 0x95:  # a frame, whose size is known
        return 0.9 if raw[7:11] == b"\0\0\0\0" else 0.0
    return 0.9 if raw.rstrip(b"\0").endswith(b".") or len(raw) >= 4096 else 0.3


def content(path: Path) -> Any:
    """The object in a file, with stand-ins. Raises InputError for what is damaged, too large or no pickle."""
    source = str(path)
    with Decompressed(path, source) as file:
        raw = file.read(LARGEST + 1)
    if raw.startswith(ZIP):
        raw = _member(path)
    elif raw.startswith(MAGIC):
        _, at = unpickled(raw, source, len(MAGIC))  # the version
        _, at = unpickled(raw, source, at)  # of the system
        return unpickled(raw[:LARGEST], source, at)[0]
    elif len(raw) > LARGEST:
        raise InputError(f"{source} is a pickle of more than {LARGEST >> 20} MiB; it was not read")
    return unpickled(raw, source)[0]


def _member(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"), None)
            if name is None:
                raise InputError(f"{path} is a zip archive without a data.pkl; a checkpoint of torch was needed")
            with archive.open(name) as file:
                raw = file.read(LARGEST + 1)
    except InputError:
        raise
    except Exception:  # a broken archive raises whatever its bytes lead to
        raise InputError(f"{path} is damaged: its archive cannot be read; save it anew, or copy it again") from None
    if len(raw) > LARGEST:
        raise InputError(f"{path} holds a pickle of more than {LARGEST >> 20} MiB; it was not read")
    return raw
