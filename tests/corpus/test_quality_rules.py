"""Rules at their thresholds, and on damage that was planted."""

import base64

import numpy as np
import pytest

from talweg.corpus.quality.rules import FAMILIES, NAMES, RULES, Rule, chosen, noisy, rejected
from talweg.errors import InputError
from tests.corpus.test_quality_measures import measured

PROSE = (
    "The program reads the file that you have named and writes a report of what it has found in each part.\n"
    "With the option -v it also says how long every step took, and which of them could be left out next time.\n"
    "Files of more than a gigabyte are read in pieces, so that memory stays small on any machine that runs it.\n"
    "A report can be opened in a browser; nothing is sent over the network, not even when a picture is shown.\n"
    "If a file is damaged, the program stops with a message, and no earlier result of yours is lost by that.\n"
    "Several people may work with one folder at once, because each of them holds a lock while something changes.\n"
    "Older versions wrote their results in another form, which is still read but will not be written any more.\n"
    "To remove everything, delete the folder; there is no registry to clean and no service that must be stopped.\n"
    "Questions are best asked on the list, where others may look for the same answer and find it later on.\n"
    "The authors thank all who have sent corrections to this manual, and ask for more of them in years to come.\n"
)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_rule_holds_at_its_threshold_and_rejects_beyond_it(rule: Rule) -> None:
    for limit, away in ((rule.low, -1e-9), (rule.high, 1e-9)):
        if limit is not None:
            values = np.array([limit, limit + away, np.nan])
            assert rule.rejects(values).tolist() == [False, True, False]
    assert rule.says
    assert rule.family in FAMILIES
    assert rule.low is not None or rule.high is not None


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        ("gopher_words", "50 to 100,000"),
        ("gopher_letters", "0.8 or more"),
        ("gopher_duplicate_7grams", "at most 0.13"),
        ("fineweb_duplicate_line_text", "at most 0.01"),
        ("bytes_per_token", "2.8 or more"),
    ],
)
def test_published_thresholds(name: str, threshold: str) -> None:
    assert next(rule for rule in RULES if rule.name == name).threshold == threshold


def names_of(text: str) -> set[str]:
    found = rejected(measured([text]))[0]
    return {name for name, hit in zip(NAMES, found, strict=True) if hit}


def test_prose_is_rejected_by_no_rule() -> None:
    assert names_of(PROSE) == set()


RNG = np.random.default_rng(0)
DAMAGE = {
    "mojibake": PROSE.replace("a ", "à ").encode().decode("latin-1"),
    "replacement_characters": PROSE.replace("q", "\ufffd").replace("v", "\ufffd"),
    "control_characters": PROSE.replace(".\n", "\x1b[0m.\n"),
    "long_words": base64.encodebytes(RNG.bytes(1500)).decode(),
    "incompressible": "".join(map(chr, RNG.integers(32, 127, 3000))),
    "repeats_itself": PROSE[:207] * 10,
    "repeats_passages": PROSE[:420] * 4,
    "gopher_words": PROSE[:100],
    "gopher_bullets": "".join(f"- {line}\n" for line in PROSE.splitlines()),
    "gopher_stop_words": "Dies ist ein Satz, der kein Wort der englischen Sprache hat. " * 9,
    "gopher_duplicate_paragraphs": PROSE[:300] + "\n\n" + PROSE[:300] + "\n\n" + PROSE,
    "c4_braces": PROSE + "int main() { return 0; }\n",
    "c4_lorem_ipsum": PROSE + "Lorem ipsum dolor sit amet.\n",
    "c4_sentences": PROSE.replace(".\n", "\n"),
    "fineweb_end_punctuation": PROSE.replace(".\n", "\n"),
    "fineweb_short_lines": "".join(f"{line[:28]}\n" for line in PROSE.splitlines()),
    "fineweb_newlines": PROSE.replace(" ", "\n"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(name: str) -> None:
    assert name in names_of(DAMAGE[name])


def test_noise_is_apart_from_style() -> None:
    texts = [PROSE, DAMAGE["mojibake"], DAMAGE["c4_braces"], DAMAGE["fineweb_newlines"], DAMAGE["long_words"]]
    assert noisy(rejected(measured(texts))).tolist() == [False, True, False, False, True]


def test_a_measure_that_is_not_there_rejects_nothing() -> None:
    measures = measured([PROSE])
    column = NAMES.index("bytes_per_token")
    assert not rejected(measures)[0, column]
    measures["bytes_per_token"] = np.array([2.79])
    assert rejected(measures)[0, column]


def test_filters_are_chosen_by_name_and_by_family() -> None:
    assert [rule.name for rule in chosen(["c4", "mojibake"])] == [
        "c4_sentences",
        "c4_braces",
        "c4_lorem_ipsum",
        "mojibake",
    ]
    assert chosen([]) == ()
    assert all(rule.noise for rule in chosen(["noise"]))
    assert len(chosen(["gopher"])) == 21


def test_a_filter_that_is_not_known_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^gophers is no filter; give a family \(gopher, c4, fineweb, noise\) or a rule: "
    ):
        chosen(["gophers"])
