"""SQLite databases that trackers keep, opened so that nothing is ever written beside or into them."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from talweg.errors import InputError
from talweg.logs.given import Log

WAL_MODE = 2  # byte 18 of the file: what was logged last may stand in a file beside it, NAME-wal
SECONDS = 5.0  # that a writer is waited for
SHOWN = 8  # tables in a message


@contextmanager
def opened(log: Log) -> Iterator[sqlite3.Connection]:
    """A connection that can only read. Raises InputError when the database is locked, damaged, or may not be read."""
    with tempfile.TemporaryDirectory(prefix="talweg-") as folder:
        path = _at_hand(log, Path(folder))
        connection = None
        try:
            connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?{_mode(path)}", uri=True, timeout=SECONDS)
            connection.text_factory = lambda text: text.decode("utf-8", "replace")  # a damaged one may hold any bytes
            connection.execute("PRAGMA query_only = 1")
            yield connection
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise InputError(
                    f"{log.source} is locked by a program that writes to it; wait for that, or copy the file and give "
                    "the copy"
                ) from None
            raise InputError(f"{log.source} cannot be read as an SQLite database: {_in_short(error)}") from None
        except (sqlite3.DatabaseError, UnicodeDecodeError, MemoryError) as error:
            told = _damage(error)  # a length that is damaged asks for more memory than there is
            raise InputError(
                f"{log.source} is a damaged SQLite database ({told}); copy it again, or try: sqlite3 FILE .recover"
            ) from None
        finally:
            if connection is not None:
                connection.close()


def tables(connection: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """The names of the columns of each table."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    names = [name for (name,) in found if isinstance(name, str)]  # in a damaged one it may be anything
    return {name: tuple(row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(name)})")) for name in names}


def listed(names: Iterator[str] | list[str] | dict[str, tuple[str, ...]]) -> str:
    """Names of tables for a message."""
    names = [name for name in names if not name.startswith("sqlite_")]
    return ", ".join(names[:SHOWN]) + (f", ... ({len(names)} tables)" if len(names) > SHOWN else "") or "none"


def _at_hand(log: Log, folder: Path) -> Path:
    """The file itself; a copy where reading it would write beside it, or where it came from standard input."""
    if log.path is None:
        copy = folder / "database"
        copy.write_bytes(log.content or b"")
        return copy
    wal = Path(f"{log.path}-wal")
    if _is_filled(wal) and not Path(f"{log.path}-shm").exists():  # SQLite would make the second file itself
        for path in (log.path, wal):
            shutil.copyfile(path, folder / path.name)
        return folder / log.path.name
    return log.path


def _mode(path: Path) -> str:
    """Read only; without a lock where nothing but SQLite itself would make files beside the database to have one."""
    with path.open("rb") as file:
        head = file.read(20)
    is_wal = len(head) > 18 and head[18] == WAL_MODE
    return "mode=ro&immutable=1" if is_wal and not _is_filled(Path(f"{path}-wal")) else "mode=ro"


def _is_filled(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _damage(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "its schema is no text"
    return _in_short(error) if isinstance(error, sqlite3.Error) else "it states sizes that cannot be"


def _in_short(error: sqlite3.Error) -> str:
    """One line: what is damaged in a schema may be quoted at length."""
    told = " ".join(str(error).split())
    return told if len(told) <= 100 else f"{told[:100]} ..."


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
