"""Markdown that shows what stands in the view and nothing else."""

from dataclasses import replace

from talweg.finding import Myth
from talweg.report.markdown import code, text, to_markdown
from tests.report import seed_diagnosis


def test_all_causes_are_named() -> None:
    diagnosis = seed_diagnosis.diagnosis()
    page = to_markdown(diagnosis)
    for cause in diagnosis.causes:
        assert f"`{cause.name}`" in page
    assert page.startswith("**FALLING**, not stalled.")
    assert "| 1 | `model_too_small` | 0.302 | 0.241–0.363 |" in page


def test_every_row_of_a_table_has_the_cells_of_its_head() -> None:
    diagnosis = seed_diagnosis.diagnosis("a|b.log")
    odd = replace(diagnosis.causes[0].finding, because="p(a|b) | c")
    page = to_markdown(replace(diagnosis, causes=(replace(diagnosis.causes[0], finding=odd),)))
    rows = [line for line in page.splitlines() if line.startswith("| ") and "`model" in line]
    assert [row.replace("\\|", "").count("|") for row in rows] == [7]


def test_text_of_a_log_formats_nothing_and_calls_nobody() -> None:
    assert text("*a* _b_ <img src=x> @torvalds [x](y) a_b") == (r"\*a\* \_b\_ \<img src=x> &#64;torvalds \[x\](y) a_b")
    assert code("a`b``c|d") == "``` a`b``c¦d ```"


def test_an_empty_diagnosis_says_that_nothing_was_judged() -> None:
    page = to_markdown(seed_diagnosis.bare())
    assert "none could be judged" in page
    assert "Ruled out" not in page


def test_a_myth_is_shown_with_its_reading() -> None:
    page = to_markdown(replace(seed_diagnosis.diagnosis(), myths=(Myth("it overfits.", "it does not"),)))
    assert '"it overfits": it does not' in page
