"""A run in the form of a table: CSV, parquet or JSON, whatever program logged it.

CSV and parquet hold one row a step: columns under the names that `Run` gives them, then those that nothing asks for
under their own. A blank cell (parquet: null) was not logged, NaN was. What a later start overtook is in JSON alone.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError
from talweg.files import replacing
from talweg.run import COLUMN_NAMES, FACT_NAMES, Run, Series

FORMS = ("csv", "json", "parquet")


def columns_of(run: Run) -> dict[str, Series]:
    """All columns that hold a point, by name."""
    known = {name: getattr(run, name) for name in COLUMN_NAMES}
    return {name: series for name, series in {**known, **run.others}.items() if series and name != "step"}


def to_csv(run: Run) -> Iterator[str]:
    """The lines of the table, each with its end. Numbers have all their digits: reading them gives the same run."""
    columns = columns_of(run)
    steps, cells = _wide(columns)
    yield ",".join(["step", *map(_quoted, columns)]) + "\n"
    texts = [_texts(steps, np.ones(steps.size, dtype=np.bool_))]
    texts += [_texts(value, there) for value, there in cells]
    for row in zip(*texts, strict=True):
        yield ",".join(row) + "\n"


def to_json(run: Run) -> dict[str, Any]:
    """Everything that is known of the run. NaN and the infinities are the texts "NaN", "Infinity", "-Infinity"."""
    facts = {name: getattr(run.facts, name) for name in FACT_NAMES if getattr(run.facts, name) is not None}
    old = {name: [_series(piece) for piece in pieces] for name, pieces in run.superseded.items()}
    return {
        "source": run.source,
        "format": run.format,
        "facts": facts,
        "sources": dict(run.facts.sources),
        "conflicts": dict(run.facts.conflicts),
        "notes": list(run.reading.notes),
        "columns": {name: _series(series) for name, series in columns_of(run).items()},
        "superseded": old,
    }


def write(run: Run, path: Path, form: str) -> Path:
    """Write the run, complete or not at all. Raises InputError where parquet is asked for and pyarrow is not there."""
    if form == "csv":
        with replacing(path, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(to_csv(run))
    elif form == "json":
        with replacing(path, "w", encoding="utf-8", newline="\n") as file:
            json.dump(to_json(run), file, allow_nan=False)
    else:
        _write_parquet(run, path)
    return path


def _write_parquet(run: Run, path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise InputError('parquet needs pyarrow: pip install "talweg[data]", or take --to csv') from None
    columns = columns_of(run)
    steps, cells = _wide(columns)
    arrays = [pa.array(steps), *(pa.array(value, mask=~there) for value, there in cells)]
    told = to_json(run)
    told.pop("columns")
    told.pop("superseded")
    table = pa.table(dict(zip(["step", *columns], arrays, strict=True)))
    table = table.replace_schema_metadata({"talweg": json.dumps(told, allow_nan=False)})
    with replacing(path) as file:
        pq.write_table(table, file)


def _wide(
    columns: Mapping[str, Series],
) -> tuple[NDArray[np.float64], list[tuple[NDArray[np.float64], NDArray[np.bool_]]]]:
    """All steps, and of each column the values at them and where there is one."""
    steps = np.unique(np.concatenate([series.step for series in columns.values()])) if columns else np.empty(0)
    cells = []
    for series in columns.values():
        value, there = np.full(steps.size, np.nan), np.zeros(steps.size, dtype=np.bool_)
        place = np.searchsorted(steps, series.step)
        value[place], there[place] = series.value, True
        cells.append((value, there))
    return steps, cells


def _texts(value: NDArray[np.float64], there: NDArray[np.bool_]) -> list[str]:
    """Each number in the fewest digits that give it back; nothing where there is none."""
    texts = [text.removesuffix(".0") for text in map(repr, value.tolist())]
    return texts if there.all() else [text if here else "" for text, here in zip(texts, there.tolist(), strict=True)]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(sign in name for sign in ',"\n') else name


def _series(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "kind": series.kind,
        "resolution": series.resolution,
        "step": _numbers(series.step),
        "value": _numbers(series.value),
    }


def _numbers(values: NDArray[np.float64]) -> list[float | int | str]:
    if np.isfinite(values).all():
        whole = values.astype(np.int64) if values.size and np.abs(values).max() < 2**53 else None
        return (whole if whole is not None and np.array_equal(whole, values) else values).tolist()  # type: ignore[no-any-return]
    names = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return [names.get(repr(value), value) for value in values.tolist()]
