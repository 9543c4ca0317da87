"""MLflow's store of files: a folder a run, a file a metric with lines `time in ms, value, step`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from talweg.errors import InputError
from talweg.logs.given import Log
from talweg.logs.lines import Lines
from talweg.logs.recipes import NUMBER, Fields, of_match
from talweg.readers.mlflow.logged import Metric, Stored, setting

LINE = re.compile(rf"^(?P<time>[0-9]+) (?P<value>{NUMBER})(?: (?P<at>-?[0-9]+))?\s*$")
META = re.compile(r"^(\w+):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
TRASH = ".trash"  # where the UI of old versions puts what it deletes
MOST_BYTES = 1 << 20  # of a file that holds a setting


@contextmanager
def opened(log: Log) -> Iterator["Files"]:
    assert log.path is not None
    yield Files(log.path, log.source)


class Files:
    def __init__(self, folder: Path, source: str) -> None:
        self.folder = folder
        self.source = source

    def runs(self) -> list[Stored]:
        """Of the folder of a run, of an experiment, or of a store; in the order in which they were started."""
        top = self.folder / "mlruns" if (self.folder / "mlruns").is_dir() else self.folder
        found: list[tuple[int, Stored]] = []
        for level in ("", "*/", "*/*/"):
            for meta in sorted(top.glob(f"{level}meta.yaml")):
                values: dict[str, str] = dict(META.findall(_text(meta)))
                id = _bare(values.get("run_id", values.get("run_uuid", "")))
                if not id or TRASH in meta.parts:
                    continue
                name = _bare(values.get("run_name", "")) or _text(meta.parent / "tags" / "mlflow.runName").strip() or id
                deleted = _bare(values.get("lifecycle_stage", "active")) == "deleted"
                start = values.get("start_time", "")
                found.append((int(start) if start.isdigit() else 0, Stored(id, name, deleted, str(meta.parent))))
            if found:
                break
        return [run for _, run in sorted(found, key=lambda item: item[0])]

    def keys(self) -> dict[str, list[str]]:
        return {run.id: [key for key, _ in _metric_files(run)] for run in self.runs()}

    def metrics(self, run: Stored) -> tuple[list[Metric], int]:
        """The metrics of a run, and how many of their lines were not understood."""
        found: list[Metric] = []
        damage = count = 0
        for key, path in _metric_files(run):
            lines = Lines(parse).read(Log(str(path), path).chunks())
            points = lines.points()
            damage += lines.num_not_understood
            if "value" not in points:
                continue
            time, value = points["time"], points["value"]
            step = np.zeros(value.value.size)
            if "at" in points:
                step[np.searchsorted(value.line, points["at"].line)] = points["at"].value
            found.append(Metric(key, time.value, value.value, step, value.line + count))
            count += lines.num_lines
        return found, damage

    def parameters(self, run: Stored) -> dict[str, object]:
        folder = Path(run.place) / "params"
        paths = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        return {path.relative_to(folder).as_posix(): setting(_text(path).strip()) for path in paths}


def parse(line: str) -> Fields | None:
    match = LINE.match(line)
    return None if match is None else of_match(match)


def _metric_files(run: Stored) -> list[tuple[str, Path]]:
    """A slash in the name of a metric makes a folder."""
    folder = Path(run.place) / "metrics"
    if not folder.is_dir():
        return []
    return [(path.relative_to(folder).as_posix(), path) for path in sorted(folder.rglob("*")) if path.is_file()]


def _text(path: Path) -> str:
    """A small file; "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _bare(text: str) -> str:
    return text.strip("'\"")
