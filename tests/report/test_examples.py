"""Every form takes the diagnosis of every cause's own example."""

import json
import re

import numpy as np
import pytest
from rich.cells import cell_len

from talweg.causes import catalogue
from talweg.diagnosis import diagnose
from talweg.report.html import to_html
from talweg.report.json import to_json
from talweg.report.markdown import to_markdown
from talweg.report.terminal import render
from tests.report.test_html import Page


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_all_forms_of_an_example(name: str) -> None:
    diagnosis = diagnose(catalogue()[name].example(np.random.default_rng(1)))
    screen = render(diagnosis, width=80)
    assert max(map(cell_len, screen.splitlines())) <= 80
    assert len(screen.splitlines()) <= 44
    strict = json.loads(json.dumps(to_json(diagnosis), allow_nan=False))
    assert len(strict["causes"]) == len(catalogue())
    assert f"`{name}`" in to_markdown(diagnosis)
    page = to_html(diagnosis)
    assert f"<code>{name}</code>" in page
    assert not re.search(r"\bnan\b", Page(page).text)  # a figure that is not known has a word for it
