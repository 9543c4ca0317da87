"""The measures once more, one document at a time, in plain Python: what the vectorised ones are held against."""

import re
from collections import Counter

WHITE = "\t\n\v\f\r "
EIGHT = ("the", "be", "to", "of", "and", "that", "have", "with")


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def size(text: str) -> int:
    return len(text.encode())


def slow(text: str) -> dict[str, float]:
    return {**of_characters(text), **of_lines(text), **of_repetition(text)}


def of_characters(text: str) -> dict[str, float]:
    words = [word for word in re.split(f"[{WHITE}]+", text) if word]
    n = len(text)
    controls = [c for c in text if (ord(c) < 32 and c not in WHITE) or 0x7F <= ord(c) < 0xA0]
    long = [word for word in words if len(word) > 40 and word.isascii()]
    return {
        "bytes": size(text),
        "characters": n,
        "words": len(words),
        "mean_word_length": share(sum(map(len, words)), len(words)),
        "words_with_letter": share(sum(bool(re.search(r"[A-Za-z\u0080-\U0010ffff]", w)) for w in words), len(words)),
        "long_words": share(sum(map(len, long)), size(text)),
        "control_characters": share(len(controls), n),
        "replacement_characters": share(text.count("\ufffd"), n),
        "mojibake": share(len(wrongly_decoded(text)), n),
        "non_ascii": share(sum(not c.isascii() for c in text), n),
        "digits": share(sum(c in "0123456789" for c in text), n),
        "hash_signs_per_word": share(text.count("#"), len(words)),
        "ellipses_per_word": share(text.count("...") + text.count("…"), len(words)),
    }


def as_byte(character: str) -> int | None:
    """The byte that a wrong decoder (Latin-1 or Windows-1252) made this character of."""
    if ord(character) < 0x100:
        return ord(character)
    try:
        return character.encode("cp1252")[0]
    except UnicodeEncodeError:
        return None


def wrongly_decoded(text: str) -> set[int]:
    found: set[int] = set()
    for place, character in enumerate(text):
        lead = ord(character)
        follow = 1 if 0xC2 <= lead < 0xDF else 2 if 0xE0 <= lead < 0xF0 else 3 if 0xF0 <= lead < 0xF5 else 0
        after = [as_byte(c) for c in text[place + 1 : place + 1 + follow]]
        if follow and len(after) == follow and all(b is not None and 0x80 <= b < 0xC0 for b in after):
            found |= set(range(place, place + follow + 1))
    return found


def of_lines(text: str) -> dict[str, float]:
    lines = [line.strip(WHITE) for line in text.split("\n")]
    filled = [line for line in lines if line]
    paragraphs = [tuple(p.split("\n")) for p in re.split(r"\n\n+", "\n".join(lines).strip("\n")) if p]
    sizes = [sum(map(size, p)) for p in paragraphs]
    words = [len(re.findall(f"[^{WHITE}]+", line)) for line in filled]
    ended = [line.endswith((".", "!", "?", '"', "'", "…", "’", "”", "。", "！", "？")) for line in filled]
    ellipsis = [line.endswith(("...", "…")) for line in filled]
    kept = [
        line
        for line, n, end, dots in zip(filled, words, ended, ellipsis, strict=True)
        if end and not dots and n >= 3 and b"javascript" not in line.encode().lower()
    ]
    sentences = sum(len(re.findall(rf"[.!?][\"')\]*]?(?=[{WHITE}]|$)", line)) for line in kept)
    n = len(filled)
    again = [line in filled[:k] for k, line in enumerate(filled)]
    twice = [p in paragraphs[:k] for k, p in enumerate(paragraphs)]
    lower = text.encode().lower()
    return {
        "lines": n,
        "bullet_lines": share(sum(line.startswith(("-", "*", "•", "‣", "●")) for line in filled), n),
        "ellipsis_lines": share(sum(ellipsis), n),
        "end_punctuation": share(sum(ended), n),
        "short_lines": share(sum(len(line) <= 30 for line in filled), n),
        "words_per_line": share(sum(words), n),
        "newlines_per_word": share(text.count("\n"), sum(words)),
        "paragraphs": len(paragraphs),
        "duplicate_lines": share(sum(again), n),
        "duplicate_line_characters": share(sum(size(x) for x, a in zip(filled, again, strict=True) if a), size(text)),
        "duplicate_paragraphs": share(sum(twice), len(paragraphs)),
        "duplicate_paragraph_characters": share(sum(x for x, a in zip(sizes, twice, strict=True) if a), size(text)),
        "c4_lines": share(len(kept), n),
        "c4_sentences": sentences,
        "braces": text.count("{"),
        "lorem_ipsum": lower.count(b"lorem ipsum"),
        "javascript": lower.count(b"javascript"),
    }


def of_repetition(text: str) -> dict[str, float]:
    data = re.sub(rb"\xe2\x80.|\xe3\x80.", b"   ", text.encode(), flags=re.S)
    spans = [(m.start(), m.end()) for m in re.finditer(rb"[A-Za-z0-9\x80-\xff]+", data)]
    words = [data[a:b].lower() for a, b in spans]
    found = {
        "stop_words_present": sum(word.encode() in words for word in EIGHT),
        "stop_word_share": share(sum(word.decode("utf-8", "replace") in EIGHT for word in words), len(words)),
    }
    for n in (2, 3, 4):
        grams = Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))
        most = max(grams.values(), default=0)
        longest = max(
            (
                spans[k + n - 1][1] - spans[k][0]
                for k in range(len(words) - n + 1)
                if grams[tuple(words[k : k + n])] == most
            ),
            default=0,
        )
        found[f"top_{n}gram_characters"] = min(share(most * longest, len(data)), 1.0) if most > 1 else 0.0
    for n in range(5, 11):
        seen: set[tuple[bytes, ...]] = set()
        covered: set[int] = set()
        for k in range(len(words) - n + 1):
            gram = tuple(words[k : k + n])
            if gram in seen:
                covered |= set(range(spans[k][0], spans[k + n - 1][1]))
            seen.add(gram)
        found[f"duplicate_{n}gram_characters"] = share(len(covered), len(data))
    return found
