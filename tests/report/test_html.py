"""The page: complete in itself, silent on the network, and never made of what a log says."""

import itertools
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from talweg.diagnosis import Diagnosis, Event, diagnose
from talweg.errors import InputError
from talweg.finding import Myth, ReadingOfRun
from talweg.report.html import prose, to_html
from talweg.run import Facts, Reading, Run, Series
from tests.report import seed_diagnosis

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
VOID = {"meta", "br", "rect", "polyline", "polygon", "line", "img", "link"}
MAX_BYTES = 2_500_000


class Page(HTMLParser):
    """Collects what a browser would build: elements with attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def seed_page() -> str:
    return to_html(seed_diagnosis.diagnosis())


def evil() -> Diagnosis:
    """Every text that can come from a log, a path or a plug-in holds markup."""
    d = seed_diagnosis.diagnosis(EVIL)
    facts = replace(d.run.facts, dataset=EVIL, sources={"dataset": EVIL}, conflicts={"dataset": EVIL})
    val = replace(d.run.val_loss, name=EVIL)
    run = replace(d.run, format=EVIL, facts=facts, val_loss=val, reading=Reading(3, 1, (EVIL,)))
    first = d.causes[0]
    remedy = replace(first.finding.remedies[0], change=EVIL, config={EVIL: EVIL})
    finding = replace(first.finding, because=EVIL, remedies=(remedy,), needs=(EVIL,))
    cause = replace(first, name=EVIL, group=EVIL, summary=EVIL, refuted_by=EVIL, page=EVIL, finding=finding)
    return replace(
        d,
        run=run,
        headline=EVIL,
        causes=(cause, *(replace(c, name=EVIL, page=EVIL) for c in d.causes[3:])),
        readings=(ReadingOfRun(EVIL, EVIL),),
        myths=(Myth(EVIL, EVIL),),
        events=(Event(EVIL, EVIL, 10.0, 10.0, 1.0, EVIL),),
    )


def test_the_page_is_well_formed_and_holds_the_answer(seed_page: str) -> None:
    page = Page(seed_page)
    assert page.open == []
    text = " ".join(page.text.split())
    for cause in seed_diagnosis.diagnosis().causes:
        assert cause.name in text
    for part in (
        "FALLING, not stalled.",
        "40.6 M parameters",
        "3.571 ±0.006",
        "0.110 (0.080–0.140)",
        "Refuted by: a wider model",
        "could hide up to 0.120 nats",
        "small_batch_noise",
        "evidence against it",
        "train_fineweb.config.txt",
        "not used: 6e-05",
        "the last line is cut off",
        "132 lines read, 2 not understood",
        "Hoffmann et al. 2022",
    ):
        assert part in text


def test_nothing_is_loaded_from_outside(seed_page: str) -> None:
    for tag, attributes in Page(seed_page).elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img")
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert "@import" not in seed_page.split("</style>")[0]
    assert "url(" not in seed_page.split("</style>")[0]
    policy = next(a for t, a in Page(seed_page).elements if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none'")


def test_the_page_is_small(seed_page: str) -> None:
    assert len(seed_page.encode()) < MAX_BYTES


def test_a_long_log_makes_no_larger_page() -> None:
    step = np.arange(1, 1_000_001, dtype=float)
    value = seed_diagnosis.curve(step / 50) + np.random.default_rng(0).normal(0, 0.1, step.size)
    value[777_777] = 9.0
    facts = Facts(peak_learning_rate=1e-3, schedule="cosine", planned_steps=1_000_000)
    run = Run("long.log", "csv", Series(step, value), val_loss=Series(step[::100], value[::100]), facts=facts)
    page = to_html(replace(seed_diagnosis.diagnosis(), run=run))
    assert len(page.encode()) < MAX_BYTES


def test_markup_in_a_log_stays_text() -> None:
    page = to_html(evil())
    parsed = Page(page)
    assert parsed.open == []
    assert not [tag for tag, _ in parsed.elements if tag == "img"]
    assert [a for _, a in parsed.elements if any(name.startswith("on") for name in a)] == []
    assert "<script>alert" not in page
    scripts = Page(to_html(seed_diagnosis.diagnosis())).elements
    assert sum(t == "script" for t, _ in parsed.elements) == sum(t == "script" for t, _ in scripts)
    assert EVIL in parsed.text


def test_each_cause_has_its_page_folded_away(seed_page: str) -> None:
    assert seed_page.count("<details>") == len(seed_diagnosis.diagnosis().causes)
    assert "<details open" not in seed_page


def test_a_diagnosis_brings_the_page_of_every_cause() -> None:
    diagnosed = diagnose(Run())
    assert diagnosed.causes
    assert all("Refuted by:" in cause.page for cause in diagnosed.causes)


def test_where_scripts_do_not_run_there_is_a_picture(seed_page: str) -> None:
    picture = re.search(r'<svg class="still".*?</svg>', seed_page, re.S)
    assert picture
    lines = re.findall(r'<polyline class="([\w-]+)"', picture.group())
    assert {"val-line", "train-eval-line", "forecast-line"} <= set(lines)
    assert 'class="forecast-band"' in picture.group()
    assert "nan" not in picture.group()


def test_the_waterfall_goes_from_now_down_by_each_cost(seed_page: str) -> None:
    fall = re.search(r'<div class="waterfall">.*?</section>', seed_page, re.S)
    assert fall
    bars = [
        (float(a), float(b)) for a, b in re.findall(r'class="bar \w+" style="left:([\d.]+)%;width:([\d.]+)%', fall[0])
    ]
    assert len(bars) == 5
    assert all(left >= 0 and left + width <= 100 for left, width in bars)
    for above, below in itertools.pairwise(bars[1:-1]):  # each bar ends where the next begins
        assert above[0] == pytest.approx(sum(below), abs=0.02)
    assert bars[1][1] / bars[2][1] == pytest.approx(0.302 / 0.081, rel=0.01)
    assert "3.158" in fall[0]  # 3.5712 - 0.302 - 0.081 - 0.030, by hand


def test_a_run_without_a_loss_has_a_page_without_a_plot() -> None:
    page = to_html(seed_diagnosis.bare())
    assert len(page) < 100_000
    assert "none could be judged" in page
    assert Page(page).open == []


@pytest.mark.parametrize(
    "value",
    [[], [3.0], [3.0, 2.9], [float("nan")] * 9, [3.0] * 50, [float("inf")] * 9, list(range(40))],
)
def test_odd_curves_are_drawn_or_left_out(value: list[float]) -> None:
    run = Run("odd.log", "csv", Series(np.arange(len(value), dtype=float), np.asarray(value, dtype=float)))
    assert Page(to_html(replace(seed_diagnosis.diagnosis(), run=run, forecast=None))).open == []


def test_without_bokeh_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "bokeh"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(InputError, match=r"needs Bokeh, which is not installed: pip install 'talweg\[report\]'"):
        to_html(seed_diagnosis.diagnosis())


def test_a_page_of_a_cause_keeps_its_formula_and_headings() -> None:
    html = prose("Name: one <b>.\n\nPhysics: where\n\n    a < b\n      c\n\nRefuted by: x\ny.\nKnown problems: none.")
    assert html == (
        "<p><strong>Name:</strong> one &lt;b&gt;.</p><p><strong>Physics:</strong> where</p><pre>a &lt; b\n  c</pre>"
        "<p><strong>Refuted by:</strong> x y.</p><p><strong>Known problems:</strong> none.</p>"
    )
