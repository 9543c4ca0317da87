"""Rules on the measures: the published ones, with their thresholds, and ours for text that is damaged.

A rule rejects what lies below `low` or above `high`; a measure that is NaN, or not there at all, is rejected by none.
Rules of style (short lines, braces) say that a text is unlike the prose they were made for. Those marked as noise
say that it is hardly text: no model should learn it.

Sources: Gopher: Rae et al. 2021, appendix A. C4: Raffel et al. 2020, section 2.2. FineWeb: Penedo et al. 2024, with the
thresholds of its published code. What is ours has its rates on clean manuals and on planted damage in notes/quality.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InputError

FAMILIES = {"gopher": "Gopher", "c4": "C4", "fineweb": "FineWeb", "ours": "ours"}


@dataclass(frozen=True)
class Rule:
    """Rejects documents whose measure is below `low` or above `high`."""

    name: str
    measure: str
    says: str  # what it rejects
    low: float | None = None
    high: float | None = None
    noise: bool = False

    @property
    def family(self) -> str:
        head = self.name.partition("_")[0]
        return head if head in FAMILIES else "ours"

    @property
    def threshold(self) -> str:
        """The values that pass: "0.8 or more", "50 to 100,000"."""
        if self.low is not None and self.high is not None:
            return f"{self.low:,g} to {_number(self.high)}"
        return f"{_number(self.low)} or more" if self.low is not None else f"at most {_number(self.high)}"

    def rejects(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        rejected = np.zeros(values.shape, dtype=bool)
        if self.low is not None:
            rejected |= values < self.low
        if self.high is not None:
            rejected |= values > self.high
        return rejected


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:g}"


RULES: tuple[Rule, ...] = (
    Rule("gopher_words", "words", "very short or very long documents", 50, 100_000),
    Rule("gopher_word_length", "mean_word_length", "words of unusual length on average", 3, 10),
    Rule("gopher_hash_signs", "hash_signs_per_word", "many hash signs", high=0.1),
    Rule("gopher_ellipses", "ellipses_per_word", "many ellipses", high=0.1),
    Rule("gopher_bullets", "bullet_lines", "hardly anything but bullet points", high=0.9),
    Rule("gopher_ellipsis_lines", "ellipsis_lines", "many lines that break off with an ellipsis", high=0.3),
    Rule("gopher_letters", "words_with_letter", "many words without a letter", low=0.8),
    Rule("gopher_stop_words", "stop_words_present", "text without the commonest English words", low=2),
    Rule("gopher_duplicate_lines", "duplicate_lines", "lines that repeat earlier ones", high=0.30),
    Rule("gopher_duplicate_line_text", "duplicate_line_characters", "much text in repeated lines", high=0.20),
    Rule("gopher_duplicate_paragraphs", "duplicate_paragraphs", "paragraphs that repeat earlier ones", high=0.30),
    Rule(
        "gopher_duplicate_paragraph_text",
        "duplicate_paragraph_characters",
        "much text in repeated paragraphs",
        high=0.20,
    ),
    *(
        Rule(f"gopher_top_{n}gram", f"top_{n}gram_characters", f"the same {n} words over and over", high=high)
        for n, high in ((2, 0.20), (3, 0.18), (4, 0.16))
    ),
    *(
        Rule(
            f"gopher_duplicate_{n}grams", f"duplicate_{n}gram_characters", f"passages of {n} words repeated", high=high
        )
        for n, high in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    ),
    Rule("c4_sentences", "c4_sentences", "fewer than five sentences in lines that end like prose", low=5),
    Rule("c4_braces", "braces", "anything with a curly brace: code, markup", high=0),
    Rule("c4_lorem_ipsum", "lorem_ipsum", "placeholder text", high=0),
    Rule("fineweb_end_punctuation", "end_punctuation", "lines that do not end like sentences", low=0.12),
    Rule("fineweb_short_lines", "short_lines", "mostly lines of at most 30 characters", high=0.67),
    Rule("fineweb_duplicate_line_text", "duplicate_line_characters", "any repeated line of some length", high=0.01),
    Rule("fineweb_newlines", "newlines_per_word", "lists of single words", high=0.3),
    Rule("fineweb_english", "english", "text that is not surely English", low=0.65),
    Rule("mojibake", "mojibake", "UTF-8 that was decoded as something else", high=0.002, noise=True),
    Rule(
        "replacement_characters", "replacement_characters", "bytes lost in decoding, as U+FFFD", high=0.002, noise=True
    ),
    Rule("control_characters", "control_characters", "binary data or terminal codes", high=0.002, noise=True),
    Rule("long_words", "long_words", "base64, hashes, sequences: words of over 40 letters", high=0.5, noise=True),
    Rule("incompressible", "compression", "random characters, encoded data", low=1.4, noise=True),
    Rule("repeats_itself", "compression", "the same passage again and again", high=6, noise=True),
    Rule(
        "repeats_passages",
        "duplicate_5gram_characters",
        "mostly passages that stood there before",
        high=0.7,
        noise=True,
    ),
    Rule("bytes_per_token", "bytes_per_token", "text that is foreign to GPT-2's tokenizer", low=2.8, noise=True),
)
NAMES = tuple(rule.name for rule in RULES)


def rejected(measures: Mapping[str, NDArray[np.float64]], rules: Sequence[Rule] = RULES) -> NDArray[np.bool_]:
    """(documents, rules): whether a rule rejects a document."""
    documents = next(iter(measures.values())).size
    found = np.zeros((documents, len(rules)), dtype=bool)
    for column, rule in enumerate(rules):
        if rule.measure in measures:
            found[:, column] = rule.rejects(measures[rule.measure])
    return found


def noisy(found: NDArray[np.bool_], rules: Sequence[Rule] = RULES) -> NDArray[np.bool_]:
    """(documents,): whether a rule of noise rejects it, from what `rejected` found."""
    return np.asarray(found[:, [rule.noise for rule in rules]].any(axis=1))


def chosen(names: Iterable[str]) -> tuple[Rule, ...]:
    """The rules of these names; a family's name (gopher, c4, fineweb), or noise, stands for all of its rules.

    Raises InputError for a name that is none of them.
    """
    picked: set[str] = set()
    for name in names:
        group = {rule.name for rule in RULES if name in (rule.name, rule.family) or (name == "noise" and rule.noise)}
        if not group:
            raise InputError(
                f"{name} is no filter; give a family (gopher, c4, fineweb, noise) or a rule: {', '.join(NAMES)}"
            )
        picked |= group
    return tuple(rule for rule in RULES if rule.name in picked)
