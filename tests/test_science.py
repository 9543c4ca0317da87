"""The page docs/science.md: no law is left out, constants come with their comments, figures are as measured."""

import json
import pkgutil
from pathlib import Path

import pytest

from talweg import laws
from tests.conftest import shared
from tests.test_docs import load

ROOT = Path(__file__).parents[1]
science = load(ROOT / "docs" / "science.py")


def test_every_law_is_on_the_page() -> None:
    named = {name for _, _, modules in science.PARTS for name, _ in modules}
    assert {f"laws.{module.name}" for module in pkgutil.iter_modules(laws.__path__)} <= named


def test_every_law_says_where_it_fails() -> None:
    for _, _, modules in science.PARTS:
        for name, _ in modules:
            if name.startswith("laws."):
                text = (ROOT / "src" / "talweg" / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
                assert "Known limit" in text.split('"""')[1], name


def test_constants_come_with_the_comments_above_and_behind() -> None:
    source = (
        "# above\n# it\nONE = 1e7  # behind\nTWO, THREE = (2.0, 3)\nlower = 4\nFOUR = (\n    (1, 2),\n    (3, 4),\n)\n"
    )
    assert science._assignments(source) == [
        (["ONE"], "`1e7`", "above it behind"),
        (["TWO", "THREE"], "`2.0, 3`", ""),
        (["FOUR"], "`(1, 2), (3, 4)`", ""),
    ]


def test_links_stay_out_of_formulas() -> None:
    assert science.linked("arXiv 2203.15556") == "[arXiv 2203.15556](https://arxiv.org/abs/2203.15556)"
    assert science.linked("    arXiv 2203.15556") == "    arXiv 2203.15556"


@pytest.mark.slow
def test_the_accuracy_is_that_of_a_new_run() -> None:
    curves = shared("data/curves/multipowerlaw").parents[2]
    bench = load(ROOT / "bench" / "forecast.py")
    kept = json.loads((ROOT / "docs" / "accuracy.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(bench.figures(curves))) == kept
