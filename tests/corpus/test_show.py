"""What a person sees of a corpus: figures, the screen, the page."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.cells import cell_len

from talweg.corpus.manifest import Duplicates, Input, Manifest, Overlap, Quality, Side, SplitFacts, TokenizerFacts
from talweg.corpus.quality.summary import Summary
from talweg.corpus.show.figures import count, percent, plain, short, size
from talweg.corpus.show.histogram import histograms
from talweg.corpus.show.page import page
from talweg.corpus.show.terminal import terminal
from tests.corpus.test_quality_rules import DAMAGE, PROSE
from tests.corpus.test_quality_summary import added, texts

EVIL = "<script>alert('x')</script><img src=x onerror=1>{}\x1b[31m\u202e </details></style> & \"quoted\" "


def side(tokens: int, documents: int, **more: object) -> Side:
    return Side(tokens, documents, 4 * tokens, documents - 1, tokens - 900, (), **more)  # type: ignore[arg-type]


MANIFEST = Manifest(
    format="talweg-tokens-1",
    talweg="0.1.0",
    tokenizer=TokenizerFacts("bpe", "ab" * 32, 8192, 8191),
    dtype="uint16",
    seed=0,
    split=SplitFacts("whole groups at random", "source", 0.01, 812, 9, 3, 14),
    train=side(29_500_000, 37_000, near_unique_tokens=29_000_000, tokens_by_length=(0, 0, 0, 500_000, 0, 29_000_000)),
    val=side(271_300, 420),
    unigram_nats=7.213,
    bigram_nats=4.871,
    bytes_per_token=4.05,
    inputs=(Input("/data/<b>web</b>.parquet", 45_000_000, 37_842),),
    warnings=("val is small: <i>271,300</i> tokens",),
    duplicates=Duplicates("exact", 2, 400, 1, 100),
    overlap=Overlap(11, 3000, 2, 260_000, 1_400),
    quality=Quality((), 60, 1000, 3, 100, filters=("mojibake",)),
)
BARE = replace(MANIFEST, duplicates=None, overlap=None, quality=None, warnings=(), train=side(900_000, 80))
SUMMARY = added([PROSE, *texts(50), *DAMAGE.values(), EVIL * 9], ["en"] * (51 + len(DAMAGE)) + ["<x>"])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (count(524_288), "524,288"),
        (count(27_160_000), "27.2 M"),
        (count(999_600), "1.00 M"),
        (size(120_400_000), "120 MB"),
        (size(812), "812 bytes"),
        (percent(0, 10), "0"),
        (percent(1, 10_000), "< 0.1 %"),
        (percent(1, 8), "12.5 %"),
        (percent(9_999, 10_000), "> 99.9 %"),
        (percent(3, 3), "100 %"),
        (percent(0, 0), "-"),
        (short(1500.0), "1.5k"),
        (short(0.00001), "1e-5"),
        (plain("a\x1b[1m\n b\u202e"), "a\ufffd[1m b\ufffd"),
    ],
)
def test_figures(written: str, expected: str) -> None:
    assert written == expected


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("manifest", [MANIFEST, BARE])
def test_the_screen_keeps_its_width(manifest: Manifest, width: int) -> None:
    text = terminal(manifest, SUMMARY, width)
    assert max(cell_len(line) for line in text.split("\n")) <= min(max(width, 40), 100)
    assert "\x1b" not in text
    assert "\x1b[" in terminal(manifest, SUMMARY, width, color=True)


def test_the_screen_says_what_was_counted() -> None:
    text = re.sub(r"\s+", " ", terminal(MANIFEST, SUMMARY))
    assert "29.5 M tokens to train on, 271,300 to validate on." in text
    assert "train 29.5 M tokens in 37,000 documents" in text
    assert "unique 29.0 M training tokens without near-duplicates" in text
    assert "duplicates 4.3 % 2 exact, 1 near; exact left out" in text
    assert "overlap 2.6 % of validation documents share 13 tokens in a row; more than a fifth of theirs: 2" in text
    assert f"noise {percent(SUMMARY.families['noise'].documents, SUMMARY.documents)} of documents" in text
    assert "in force mojibake" in text
    assert "not judged fineweb_english, bytes_per_token" in text
    assert "warning val is small" in text


def test_what_was_not_looked_for_is_not_known() -> None:
    text = re.sub(r"\s+", " ", terminal(BARE, SUMMARY))
    assert "duplicates not known they were not looked for" in text
    assert "overlap not known validation was not compared with training" in text
    assert "in force no filter" in text
    assert "unique 899,100 training tokens without exact copies" in text


def test_quality_that_was_not_measured_is_not_called_good() -> None:
    """Silence is no health: no "no document is noise", and no shares of nothing."""
    screen, html = re.sub(r"\s+", " ", terminal(MANIFEST, Summary())), page(MANIFEST, Summary())
    for text in (screen, html):
        assert "The quality of the text was not measured; 3 repeat an earlier one;" in text
        assert "No document is noise" not in text
        assert "a filter would drop" not in text
        assert "What the filters would drop" not in text
        assert "<h2>Measures" not in text
    assert "37,842 rows · 45.0 MB in files" in screen
    assert "noise not known quality was not measured" in screen
    assert "duplicates 3 2 exact, 1 near; exact left out" in screen
    assert "<h2>Rule by rule" not in html


class Reader(HTMLParser):
    """Collects tags, and fails where they are not closed in order."""

    VOID = ("meta", "rect", "line", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href") or name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "line":
            return
        assert self.open.pop() == tag


@pytest.mark.parametrize("manifest", [MANIFEST, BARE])
def test_the_page_is_whole_and_escapes_everything(manifest: Manifest) -> None:
    html, reader = page(manifest, added([EVIL * 9], ["<x>"])), Reader()
    reader.feed(html)
    assert reader.open == []
    assert not reader.seen & {"script", "img", "i", "link", "iframe"}
    assert reader.links == []
    assert "default-src 'none'" in html
    assert "&lt;script&gt;alert(&#x27;x&#x27;)" in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "&lt;b&gt;web&lt;/b&gt;.parquet" in html


def test_the_page_has_every_part() -> None:
    html = page(MANIFEST, SUMMARY)
    for title in (
        "Before you trust it",
        "What the filters would drop",
        "Rule by rule",
        "Measures",
        "Lengths",
        "Languages",
    ):
        assert f"<h2>{title}" in html
    assert "In force: mojibake." in html
    assert "&lt;x&gt;" in html  # a language of that name


def test_a_histogram_draws_every_bin_that_holds_a_document() -> None:
    for drawn, measure in zip(histograms(SUMMARY)[:1], ("bytes",), strict=True):
        filled = int((SUMMARY.histograms[measure][1:] > 0).sum())
        heights = [float(h) for h in re.findall(r'<rect [^>]* height="([\d.]+)"', drawn.svg)]
        assert len(heights) == filled
        assert max(heights) == 84
        assert min(heights) >= 1
