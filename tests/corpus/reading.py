"""Everything that can be read of what is found, for the tests of inputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from talweg.corpus import inputs
from talweg.corpus.strings import texts


def documents(given: Any, text_column: str | None = None) -> list[str]:
    """All texts, read without tolerance for damage."""
    return [
        text
        for source in inputs.find(_listed(given), text_column)
        for piece in source.pieces
        for batch in inputs.read(source, piece)
        for text in texts(batch.strings)
    ]


def tolerant(given: Any) -> tuple[list[str], list[str]]:
    """All texts that can be read, and what was told to be lost."""
    lost: list[str] = []
    found: list[str] = []
    for source in inputs.find(_listed(given), on_damage="skip", lost=lost.append):
        for piece in source.pieces:
            for batch in inputs.read(source, piece, on_damage="skip", lost=lost.append):
                found += texts(batch.strings)
    return found, lost


def column(given: Any, names: Sequence[str]) -> dict[str, list[str]]:
    """Other columns, those that are there."""
    found: dict[str, list[str]] = {}
    for source in inputs.find(_listed(given)):
        for piece in source.pieces:
            for batch in inputs.read(source, piece, names):
                for name, values in batch.columns.items():
                    found.setdefault(name, []).extend(values.to_pylist())
    return found


def _listed(given: Any) -> Sequence[Path | str]:
    return [given] if isinstance(given, str | Path) else given
