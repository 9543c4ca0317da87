"""The notebook docs/forecast.ipynb: its stored cells run as they stand, without Jupyter, and it stays small."""

import json
from pathlib import Path

from tests.test_docs import load

ROOT = Path(__file__).parents[1]
STORED = ROOT / "docs" / "forecast.ipynb"


def test_its_cells_run_and_say_what_is_stored() -> None:
    cells = [cell for cell in json.loads(STORED.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    found = load(ROOT / "docs" / "notebook.py").run(["".join(cell["source"]) for cell in cells], STORED.parent)
    assert [[o["output_type"] for o in outputs] for outputs in found] == [
        [o["output_type"] for o in cell["outputs"]] for cell in cells
    ]
    printed = [[o["text"] for o in outputs if "text" in o] for outputs in found]
    assert printed == [[o["text"] for o in cell["outputs"] if "text" in o] for cell in cells]


def test_it_is_small_and_holds_its_picture() -> None:
    text = STORED.read_text(encoding="utf-8")
    assert len(text) < 100_000
    assert "<svg xmlns" in text
