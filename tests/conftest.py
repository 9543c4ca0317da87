"""What all tests share: where the public data lie, when they are there."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("TALWEG_SHARED", Path(__file__).parents[2] / "shared"))


def shared(relative: str) -> Path:
    """A file or folder of the public data; skips the test where it is absent."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"{path} is not here; set TALWEG_SHARED to the folder that holds data/")
    return path
