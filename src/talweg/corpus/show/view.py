"""The view model: what the manifest and the quality report say, in words and rows, the same for every form."""

from dataclasses import dataclass
from pathlib import PurePath

from talweg.corpus.manifest import Manifest, Overlap
from talweg.corpus.quality.rules import FAMILIES, RULES, Rule
from talweg.corpus.quality.summary import Counted, Example, Summary
from talweg.corpus.show.figures import count, percent, plain, size

SHOWN_LANGUAGES = 8


@dataclass(frozen=True)
class Figure:
    """A number with its name, and below it what qualifies it."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class RuleRow:
    """What one rule would drop, or drops where it is in force."""

    rule: Rule
    source: str
    documents: str
    text: str
    share: float  # of the documents
    in_force: bool
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Bar:
    """A share of the whole with its name; `text` and `more` are it in words."""

    label: str
    share: float
    text: str
    more: str = ""


@dataclass(frozen=True)
class View:
    title: str
    parts: tuple[str, ...]
    headline: str
    rest: str
    figures: tuple[Figure, ...]
    families: tuple[Bar, ...]  # what any rule of a family rejects: documents, and `more`: of the text
    rules: tuple[RuleRow, ...]  # those that reject something, the most documents first
    in_force: tuple[str, ...]  # the filters that dropped documents
    silent: tuple[str, ...]  # rules that reject nothing
    not_judged: tuple[str, ...]  # rules whose measure is missing
    languages: tuple[Bar, ...]
    lengths: tuple[Bar, ...]  # of training documents, in tokens, the share of the text in them
    split: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    talweg: str


def view(manifest: Manifest, quality: Summary) -> View:
    rules = _rules(manifest, quality)
    return View(
        title=_title(manifest),
        parts=(
            *_read(manifest, quality),
            f"{plain(manifest.tokenizer.name)}, {manifest.tokenizer.vocabulary_size:,} tokens",
        ),
        headline=f"{count(manifest.train.tokens)} tokens to train on, {count(manifest.val.tokens)} to validate on.",
        rest=_rest(manifest, quality),
        figures=_figures(manifest, quality),
        families=_families(quality) if quality.documents else (),
        rules=rules,
        in_force=manifest.quality.filters if manifest.quality else (),
        silent=tuple(name for name, counted in quality.rules.items() if not counted.documents),
        not_judged=tuple(rule.name for rule in RULES if rule.name not in quality.rules) if quality.documents else (),
        languages=_languages(quality),
        lengths=_lengths(manifest),
        split=_split(manifest),
        facts=_facts(manifest),
        warnings=tuple(plain(warning) for warning in manifest.warnings),
        talweg=manifest.talweg,
    )


def _title(manifest: Manifest) -> str:
    first = plain(PurePath(manifest.inputs[0].path).name) if manifest.inputs else "no input"
    more = len(manifest.inputs) - 1
    return f"{first} and {more:,} more" if more > 0 else first


def _read(manifest: Manifest, quality: Summary) -> tuple[str, ...]:
    """What was read: documents and bytes where quality was measured, else what the inputs hold."""
    if quality.documents:
        return f"{count(quality.documents)} documents", size(quality.bytes)
    rows, num_bytes = (sum(getattr(each, name) for each in manifest.inputs) for name in ("rows", "bytes"))
    return f"{count(rows)} rows", f"{size(num_bytes)} in files"


def _share(number: int, quality: Summary) -> str:
    """Of the documents; where how many there are was not counted, the number alone."""
    return percent(number, quality.documents) if quality.documents else count(number)


def _rest(manifest: Manifest, quality: Summary) -> str:
    """The verdict in a sentence or two: damage, repetition, leaks; what was not looked for is said too."""
    noise = quality.families.get("noise", Counted())
    if not quality.documents:
        parts = ["The quality of the text was not measured"]
    elif noise.documents:
        parts = [f"{percent(noise.documents, quality.documents)} of the documents are noise"]
    else:
        parts = ["No document is noise"]
    d = manifest.duplicates
    if d is None:
        parts.append("duplicates were not counted")
    else:
        number = d.exact_documents + (d.near_documents or 0)
        kinds = "repeat an earlier one" if d.near_documents is not None else "are exact copies of an earlier one"
        parts.append(f"{_share(number, quality) if number else 'none'} {kinds}")
    o = manifest.overlap
    if o is None:
        parts.append("whether training text is in the validation set was not looked at")
    elif not o.documents:
        parts.append(f"validation shares no {o.ngram} tokens in a row with training")
    else:
        documents = percent(o.documents, manifest.val.documents)
        parts.append(f"{documents} of the validation documents share {o.ngram} tokens in a row with training")
    return "; ".join(parts) + "."


def _figures(manifest: Manifest, quality: Summary) -> tuple[Figure, ...]:
    train, val, noise = manifest.train, manifest.val, quality.families.get("noise", Counted())
    unique = train.near_unique_tokens if train.near_unique_tokens is not None else train.unique_tokens
    kind = "without near-duplicates" if train.near_unique_tokens is not None else "without exact copies"
    return (
        Figure("train", count(train.tokens), f"tokens in {count(train.documents)} documents"),
        Figure("validation", count(val.tokens), f"tokens in {count(val.documents)} documents"),
        Figure("unique", count(unique), f"training tokens {kind}"),
        Figure("bytes per token", f"{manifest.bytes_per_token:.2f}", "of the training text"),
        Figure(
            "entropy", f"{manifest.unigram_nats:.2f}", f"nats a token; {manifest.bigram_nats:.2f} after the one before"
        ),
        _duplicates(manifest, quality),
        _overlap(manifest.overlap, val.documents),
        Figure(
            "noise",
            percent(noise.documents, quality.documents),
            f"of documents; {percent(noise.bytes, quality.bytes)} of the text",
        )
        if quality.documents
        else Figure("noise", "not known", "quality was not measured"),
    )


def _duplicates(manifest: Manifest, quality: Summary) -> Figure:
    d = manifest.duplicates
    if d is None:
        return Figure("duplicates", "not known", "they were not looked for")
    near = "near ones not looked for" if d.near_documents is None else f"{count(d.near_documents)} near"
    number = d.exact_documents + (d.near_documents or 0)
    kept = "kept" if d.dedup == "off" else "near and exact left out" if d.dedup == "near" else "exact left out"
    return Figure("duplicates", _share(number, quality), f"{count(d.exact_documents)} exact, {near}; {kept}")


def _overlap(o: Overlap | None, documents: int) -> Figure:
    if o is None:
        return Figure("overlap", "not known", "validation was not compared with training")
    return Figure(
        "overlap",
        percent(o.documents, documents),
        f"of validation documents share {o.ngram} tokens in a row; more than a fifth of theirs: "
        f"{count(o.heavy_documents)}",
    )


def _rules(manifest: Manifest, quality: Summary) -> tuple[RuleRow, ...]:
    in_force = manifest.quality.filters if manifest.quality else ()
    rows = []
    for rule in RULES:
        counted = quality.rules.get(rule.name)
        if counted is None or not counted.documents:
            continue
        rows.append(
            RuleRow(
                rule,
                FAMILIES[rule.family],
                percent(counted.documents, quality.documents),
                percent(counted.bytes, quality.bytes),
                counted.documents / quality.documents,
                rule.name in in_force,
                tuple(quality.examples.get(rule.name, ())),
            )
        )
    return tuple(sorted(rows, key=lambda row: -row.share))


def _families(quality: Summary) -> tuple[Bar, ...]:
    found = [(name, quality.families.get(name, Counted())) for name in ("gopher", "c4", "fineweb", "noise")]
    return tuple(
        Bar(
            name,
            c.documents / max(quality.documents, 1),
            percent(c.documents, quality.documents),
            percent(c.bytes, quality.bytes),
        )
        for name, c in found
    )


def _languages(quality: Summary) -> tuple[Bar, ...]:
    order = sorted(quality.languages.items(), key=lambda each: (-each[1].documents, each[0]))
    rest = order[SHOWN_LANGUAGES:]
    shown = [*order[:SHOWN_LANGUAGES]]
    if rest:
        shown.append((f"{len(rest)} others", Counted(sum(c.documents for _, c in rest), sum(c.bytes for _, c in rest))))
    total = max(quality.documents, 1)
    return tuple(Bar(plain(name), c.documents / total, percent(c.documents, total)) for name, c in shown)


def _lengths(manifest: Manifest) -> tuple[Bar, ...]:
    """Shares of the training tokens by the length of their document; whole powers of two, so the counts are exact."""
    by_length, total = manifest.train.tokens_by_length, max(manifest.train.tokens, 1)
    filled = [k for k, tokens in enumerate(by_length) if tokens]
    if not filled:
        return ()
    return tuple(
        Bar(f"{2**k:,}", by_length[k] / total, percent(by_length[k], total)) for k in range(filled[0], filled[-1] + 1)
    )


def _split(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    s, o = manifest.split, manifest.overlap
    rows = [
        ("rule", plain(s.rule)),
        ("groups", f"by {plain(s.group_by)}: {count(s.train_groups)} in training, {count(s.val_groups)} in validation"),
        ("left out", f"{count(s.empty_documents)} empty, {count(s.documents_in_both)} whose text was on both sides"),
    ]
    if o is not None:
        rows.append(
            (
                "overlap",
                f"{count(o.documents)} validation documents ({percent(o.documents, manifest.val.documents)}) share "
                f"{o.ngram} tokens in a row with training, {count(o.heavy_documents)} of them more than a fifth of "
                f"theirs; {percent(o.ngrams_in_train, o.ngrams)} of all such passages are in both",
            )
        )
    return tuple(rows)


def _facts(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    t = manifest.tokenizer
    sampled = "" if manifest.bigram_share >= 1 else f", counted on {percent(manifest.bigram_share, 1)} of the pairs"
    return (
        ("tokenizer", f"{plain(t.name)}, {t.vocabulary_size:,} tokens; sha256 {t.sha256[:16]}…"),
        ("tokens are stored as", manifest.dtype),
        ("unigram entropy", f"{manifest.unigram_nats:.3f} nats a token"),
        ("bigram entropy", f"{manifest.bigram_nats:.3f} nats a token, given the one before{sampled}"),
        ("seed of the split", str(manifest.seed)),
        *((plain(each.path), f"{count(each.rows)} rows, {size(each.bytes)}") for each in manifest.inputs[:20]),
        *((("more inputs", f"{len(manifest.inputs) - 20:,}"),) if len(manifest.inputs) > 20 else ()),
    )
