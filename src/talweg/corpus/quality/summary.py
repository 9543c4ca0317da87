"""What is counted of a whole corpus: merged over batches and tasks in any order, the result is the same.

Everything is a whole number, but for the examples: of each rule the few rejected documents with the smallest hash.
Quantiles come from histograms with fixed bins, so they are estimates: true to the width of a bin.
"""

from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.corpus.quality.language import NOT_KNOWN
from talweg.corpus.quality.rules import FAMILIES, RULES, noisy, rejected
from talweg.errors import InputError

FORMAT = "talweg-quality-1"
EXAMPLES, EXAMPLE_CHARACTERS, EXAMPLE_BYTES = 3, 300, 1200

# Edges of the bins. Below the first edge: zero. From the last on: open.
COUNTS = tuple(2.0 ** (k / 4) for k in range(0, 161))  # 1 to 2^40, each a fifth above the last
SHARES = (1e-9, *(k / 50 for k in range(1, 51)))
SMALL = tuple(10.0 ** (k / 5) for k in range(-25, 1))  # 0.00001 to 1
RATIOS = tuple(2.0 ** (k / 8) for k in range(-16, 65))  # 1/4 to 256
SCALES: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("bytes", "characters", "words", "lines", "paragraphs", "c4_sentences"), COUNTS),
    **dict.fromkeys(("braces", "lorem_ipsum", "javascript", "words_per_line"), COUNTS),
    **dict.fromkeys(("mojibake", "control_characters", "replacement_characters", "non_ascii", "digits"), SMALL),
    **dict.fromkeys(("hash_signs_per_word", "ellipses_per_word", "newlines_per_word"), SMALL),
    **dict.fromkeys(("mean_word_length", "compression", "bytes_per_token"), RATIOS),
    "stop_words_present": tuple(float(k) for k in range(1, 9)),
}


def edges(measure: str) -> tuple[float, ...]:
    return SCALES.get(measure, SHARES)


@dataclass(frozen=True, order=True)
class Example:
    """A rejected document: its hash, its measure and how it begins."""

    hash: str
    value: float
    text: str


@dataclass
class Counted:
    documents: int = 0
    bytes: int = 0

    def add(self, mine: NDArray[np.bool_], num_bytes: NDArray[np.int64]) -> None:
        self.documents += int(mine.sum())
        self.bytes += int(num_bytes[mine].sum())

    def merge(self, other: "Counted") -> None:
        self.documents += other.documents
        self.bytes += other.bytes


@dataclass
class Summary:
    """Add batches, merge tasks, then read it, or write it with `to_json`."""

    documents: int = 0
    bytes: int = 0
    histograms: dict[str, NDArray[np.int64]] = field(default_factory=dict)  # (edges + 1,) documents in each bin
    rules: dict[str, Counted] = field(default_factory=dict)  # by rule: what it rejects
    families: dict[str, Counted] = field(default_factory=dict)  # by family, and "noise": what any of its rules rejects
    languages: dict[str, Counted] = field(default_factory=dict)
    examples: dict[str, list[Example]] = field(default_factory=dict)  # by rule, the smallest hashes, ascending

    def add(
        self,
        measures: Mapping[str, NDArray[np.float64]],
        data: NDArray[np.uint8],
        ends: NDArray[np.int64],
        languages: Sequence[str] | None = None,
    ) -> NDArray[np.bool_]:
        """Count a batch, and return (documents, rules) what `rules.rejected` says of it. languages: None: not known."""
        num_bytes = np.diff(ends)
        found = rejected(measures)
        self.documents += num_bytes.size
        self.bytes += int(num_bytes.sum())
        for name, values in measures.items():
            counts = np.bincount(
                np.searchsorted(edges(name), values[~np.isnan(values)], side="right"), minlength=len(edges(name)) + 1
            )
            self.histograms[name] = self.histograms.get(name, 0) + counts
        for column, rule in enumerate(RULES):
            if rule.measure in measures:
                self.rules.setdefault(rule.name, Counted()).add(found[:, column], num_bytes)
        for family in FAMILIES:
            mine = np.asarray(found[:, [rule.family == family for rule in RULES]].any(axis=1))
            self.families.setdefault(family, Counted()).add(mine, num_bytes)
        self.families.setdefault("noise", Counted()).add(noisy(found), num_bytes)
        names = np.array(languages if languages is not None else [NOT_KNOWN] * num_bytes.size, dtype=object)
        for name in set(names.tolist()):
            self.languages.setdefault(str(name or NOT_KNOWN), Counted()).add(
                np.asarray(names == name, dtype=bool), num_bytes
            )
        self._show(measures, found, data, ends)
        return found

    def _show(
        self,
        measures: Mapping[str, NDArray[np.float64]],
        found: NDArray[np.bool_],
        data: NDArray[np.uint8],
        ends: NDArray[np.int64],
    ) -> None:
        """Keep the examples of this batch: one short call of blake2b for each document that is rejected at all."""
        at = np.flatnonzero(found.any(axis=1))
        if not at.size:
            return
        heads = {int(d): data[ends[d] : min(ends[d + 1], ends[d] + EXAMPLE_BYTES)].tobytes() for d in at}
        size = {d: int(ends[d + 1] - ends[d]) for d in heads}
        hashes = {
            d: blake2b(head + size[d].to_bytes(8, "little"), digest_size=8).hexdigest() for d, head in heads.items()
        }
        by_hash = np.array(sorted(heads, key=lambda d: hashes[d]))
        for column, rule in enumerate(RULES):
            kept = self.examples.setdefault(rule.name, []) if found[:, column].any() else []
            chosen: list[str] = []
            for d in map(int, by_hash[found[by_hash, column]]):
                if len(set(chosen)) >= EXAMPLES and hashes[d] != chosen[-1]:
                    break
                chosen.append(hashes[d])
                text = heads[d].decode("utf-8", "ignore")[:EXAMPLE_CHARACTERS]
                _keep(kept, Example(hashes[d], float(f"{measures[rule.measure][d]:.6g}"), text))

    def merge(self, other: "Summary") -> None:
        """Take in what another one counted of other documents."""
        self.documents += other.documents
        self.bytes += other.bytes
        for name, counts in other.histograms.items():
            self.histograms[name] = self.histograms.get(name, 0) + counts
        for mine, theirs in (
            (self.rules, other.rules),
            (self.families, other.families),
            (self.languages, other.languages),
        ):
            for name, counted in theirs.items():
                mine.setdefault(name, Counted()).merge(counted)
        for name, examples in other.examples.items():
            for example in examples:
                _keep(self.examples.setdefault(name, []), example)

    def quantile(self, measure: str, q: float) -> float | None:
        """An estimate, straight between the edges of the bin that holds it. None: nothing was measured."""
        return quantile(self.histograms[measure], measure, q) if measure in self.histograms else None

    def shorter(self, num_bytes: int) -> int:
        """Documents of less than so many bytes; exact, a power of two is an edge."""
        assert num_bytes in COUNTS
        assert num_bytes & (num_bytes - 1) == 0
        counts = self.histograms.get("bytes")
        return 0 if counts is None else int(counts[: edges("bytes").index(float(num_bytes)) + 1].sum())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, in a fixed order; `from_json` reads it back."""
        return {
            "format": FORMAT,
            "documents": self.documents,
            "bytes": self.bytes,
            "rules": [
                {
                    "name": rule.name,
                    "family": rule.family,
                    "noise": rule.noise,
                    "measure": rule.measure,
                    "passes": rule.threshold,
                    "rejects": rule.says,
                    "documents": self.rules[rule.name].documents,
                    "bytes": self.rules[rule.name].bytes,
                    "examples": [vars(example) for example in self.examples.get(rule.name, [])],
                }
                for rule in RULES
                if rule.name in self.rules
            ],
            "families": {name: vars(counted) for name, counted in sorted(self.families.items())},
            "languages": {name: vars(counted) for name, counted in sorted(self.languages.items())},
            "measures": {
                name: {
                    "quantiles": {f"{q:g}": _rounded(self.quantile(name, q)) for q in (0.02, 0.25, 0.5, 0.75, 0.98)},
                    "histogram": counts.tolist(),
                }
                for name, counts in sorted(self.histograms.items())
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Summary":
        """Raises InputError for what `to_json` did not write."""
        if value.get("format") != FORMAT:
            raise InputError(
                f'the quality report has the format {value.get("format")!r}; needed "{FORMAT}": '
                "run talweg prepare again"
            )
        rules = value["rules"]
        return cls(
            documents=value["documents"],
            bytes=value["bytes"],
            histograms={name: np.array(each["histogram"], dtype=np.int64) for name, each in value["measures"].items()},
            rules={rule["name"]: Counted(rule["documents"], rule["bytes"]) for rule in rules},
            families={name: Counted(**each) for name, each in value["families"].items()},
            languages={name: Counted(**each) for name, each in value["languages"].items()},
            examples={
                rule["name"]: [Example(**each) for each in rule["examples"]] for rule in rules if rule["examples"]
            },
        )


def quantile(counts: NDArray[np.int64], measure: str, q: float) -> float | None:
    total = int(counts.sum())
    if not total:
        return None
    reached = np.cumsum(counts)
    k = int(np.searchsorted(reached, q * total, side="left" if q > 0 else "right"))
    marks = edges(measure)
    if k == 0:
        return 0.0
    if k >= len(marks):
        return marks[-1]
    below = reached[k - 1]
    return float(marks[k - 1] + (marks[k] - marks[k - 1]) * (q * total - below) / counts[k])


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _keep(kept: list[Example], example: Example) -> None:
    """Of two with one hash the smaller; of all, the smallest few."""
    for place, other in enumerate(kept):
        if other.hash == example.hash:
            kept[place] = min(other, example)
            return
    insort(kept, example)
    del kept[EXAMPLES:]
