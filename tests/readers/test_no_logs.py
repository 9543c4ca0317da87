"""What is no log of a training is refused: in one line, at once, whatever words stand in it."""

import time
from collections import Counter
from pathlib import Path

import pytest

from talweg.errors import InputError
from talweg.logs.given import Log
from talweg.readers import formats, read
from tests.readers.strangers import STDLIB, all_of_them

ALL = all_of_them()
SECONDS = 1.0  # of this process, for one file
TELLERS = ("table", "parquet", "mlflow")


@pytest.mark.parametrize(
    ("kind", "name", "content"), ALL, ids=[f"{kind.replace(' ', '_')}-{name}" for kind, name, _ in ALL]
)
def test_it_is_refused_in_one_line(kind: str, name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    begin = time.process_time()
    with pytest.raises(InputError) as error:
        read(path)
    assert time.process_time() - begin < SECONDS
    message = str(error.value)
    assert message.strip()
    assert "\n" not in message
    assert len(message) < 1000


def test_there_are_enough_of_every_kind() -> None:
    kinds = Counter(kind for kind, _, _ in ALL)
    assert sum(kinds.values()) >= 200, kinds
    assert len({content for _, _, content in ALL}) == len(ALL)
    assert all(
        kinds[kind] >= least
        for kind, least in {
            "Python source": 40,
            "log of another program": 40,
            "table of other things": 30,
            "JSON of other things": 20,
            "source that prints losses": 10,
            "random bytes": 12,
            "database of another program": 8,
            "prose": 10,
        }.items()
    ), kinds


def test_a_folder_of_such_files_is_refused(tmp_path: Path) -> None:
    """All at once, and the standard library's tests as they lie there."""
    for number, (_, name, content) in enumerate(ALL[::5]):
        (tmp_path / f"{number}_{name}").write_bytes(content[:100_000])
    for folder in (tmp_path, STDLIB / "json"):
        begin = time.process_time()
        with pytest.raises(InputError) as error:
            read(folder)
        assert time.process_time() - begin < 5 * SECONDS
        assert "\n" not in str(error.value)


def test_no_reader_is_sure_of_one(tmp_path: Path) -> None:
    """By the beginning alone. Tables and databases are looked at, so that the message can name what they hold."""
    for kind, name, content in ALL:
        if not content.strip(b"\0 \n\t\xef\xbb\xbf") or name in ("half.gz", "run-1.wandb"):  # that begins as one does
            continue
        head = Log.at(_written(tmp_path / "stranger", content)).head
        for format, reader in formats().items():
            sure = reader.sniff(head)
            assert sure <= (0.5 if format in TELLERS else 0.0), (kind, name, format, sure)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
