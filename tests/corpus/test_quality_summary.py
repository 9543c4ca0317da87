"""The summary: the same in any order, whole through JSON, and true to what was counted."""

import json

import numpy as np
import pytest

from talweg.corpus.quality.measures import measure
from talweg.corpus.quality.rules import NAMES, RULES, rejected
from talweg.corpus.quality.summary import EXAMPLES, Summary, edges
from talweg.errors import InputError
from tests.corpus.test_quality_measures import at_random, measured


def texts(number: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [at_random(rng) * int(rng.integers(1, 12)) for _ in range(number)]


def added(documents: list[str], languages: list[str] | None = None) -> Summary:
    summary, parts = Summary(), [text.encode() for text in documents]
    data, ends = np.frombuffer(b"".join(parts), dtype=np.uint8), np.cumsum([0, *map(len, parts)])
    summary.add(measure(data, ends), data, ends, languages)
    return summary


def merged(parts: list[Summary]) -> Summary:
    total = Summary()
    for part in parts:
        total.merge(part)
    return total


def test_any_order_and_any_batches_give_the_same() -> None:
    documents = texts(90)
    documents += documents[:5]  # the same text twice
    whole = added(documents).to_json()
    rng = np.random.default_rng(1)
    for _ in range(5):
        order = rng.permutation(len(documents))
        cuts = np.sort(rng.choice(len(documents), 6))
        parts = [added([documents[k] for k in part]) for part in np.split(order, cuts) if part.size]
        rng.shuffle(parts)
        assert merged(parts).to_json() == whole
        assert merged([merged(parts[:3]), merged(parts[3:])]).to_json() == whole


def test_json_is_plain_and_gives_the_same_back() -> None:
    summary = added(texts(40), ["en"] * 39 + [""])
    value = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    again = Summary.from_json(value)
    assert again.to_json() == value
    again.merge(added(texts(3, seed=5)))
    assert again.documents == 43


def test_what_json_says_must_be_a_quality_report() -> None:
    with pytest.raises(InputError, match=r'^the quality report has the format None; needed "talweg-quality-1": run'):
        Summary.from_json({})


def test_counts_of_rules_and_languages() -> None:
    documents = texts(60)
    summary = added(documents, ["en", "de", "en"] * 20)
    found, sizes = rejected(measured(documents)), [len(text.encode()) for text in documents]
    for column, rule in enumerate(RULES):
        if rule.name not in summary.rules:
            assert rule.measure in ("bytes_per_token", "english")
            continue
        assert summary.rules[rule.name].documents == sum(found[:, column])
        assert summary.rules[rule.name].bytes == sum(n for n, hit in zip(sizes, found[:, column], strict=True) if hit)
    noise = [any(hit and rule.noise for hit, rule in zip(row, RULES, strict=True)) for row in found]
    assert summary.families["noise"].documents == sum(noise) > 0
    gopher = [
        any(hit and rule.name.startswith("gopher") for hit, rule in zip(row, RULES, strict=True)) for row in found
    ]
    assert summary.families["gopher"].documents == sum(gopher)
    assert (summary.languages["en"].documents, summary.languages["de"].documents) == (40, 20)
    assert summary.languages["de"].bytes == sum(sizes[1::3])
    assert summary.bytes == sum(sizes)


def test_quantiles_are_true_to_the_width_of_a_bin() -> None:
    documents = texts(400)
    summary, measures = added(documents), measured(documents)
    for name in ("bytes", "end_punctuation", "mean_word_length", "digits"):
        for q in (0.1, 0.5, 0.9):
            exact, marks = float(np.quantile(measures[name], q, method="inverted_cdf")), (0.0, *edges(name))
            k = int(np.searchsorted(marks, exact, side="right"))
            assert marks[k - 1] <= summary.quantile(name, q) <= marks[min(k, len(marks) - 1)]  # type: ignore[operator]
    assert summary.quantile("bytes_per_token", 0.5) is None


def test_a_quantile_by_hand() -> None:
    summary = Summary(
        histograms={"end_punctuation": np.array([2, 0, 0, 4] + [0] * 48)}
    )  # two zeros, four of .04 to .06
    assert summary.quantile("end_punctuation", 0.2) == 0
    assert summary.quantile("end_punctuation", 0.5) == pytest.approx(0.045)


def test_documents_shorter_than_a_length() -> None:
    documents = texts(200)
    summary = added(documents)
    for length in (1, 64, 1024):
        assert summary.shorter(length) == sum(len(text.encode()) < length for text in documents)


def test_examples_are_few_short_and_of_rejected_documents() -> None:
    documents = texts(80)
    summary, found = added(documents), rejected(measured(documents))
    for column, name in enumerate(NAMES):
        examples = summary.examples.get(name, [])
        heads = {text[:300] for text, hit in zip(documents, found[:, column], strict=True) if hit}
        assert len(examples) == min(EXAMPLES, len(heads))
        assert all(example.text in heads for example in examples)


def test_of_two_documents_that_begin_alike_the_same_one_is_the_example() -> None:
    head, size = "x" * 1300 + " ", 4000
    first, second = head + "y" * (size - len(head)), head + "z " * ((size - len(head)) // 2) + "z"
    assert len(first) == len(second) == size
    one, other = merged([added([first]), added([second])]), merged([added([second]), added([first])])
    assert one.to_json() == other.to_json()
    assert len(one.examples["gopher_words"]) == 1
    value = {measured([text])["words"][0] for text in (first, second)}
    assert len(value) == 2
    assert one.examples["gopher_words"][0].value == min(measured([t])["words"][0] for t in (first, second))


def test_a_rule_without_its_measure_is_not_counted() -> None:
    summary = added(["word"])
    assert "bytes_per_token" not in summary.rules
    assert "bytes_per_token" not in [rule["name"] for rule in summary.to_json()["rules"]]
