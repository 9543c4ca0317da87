"""The part of YAML that trainers write: nested mappings and lists, quotes, comments, {} and [] over several lines.

Nothing is guessed: what goes beyond that is left out of the mapping it stands in (texts of several lines, aliases,
tags), and a mapping that merges another in (<<) is left out whole. Numbers are those of any trainer: 1e-3 is one, too.
"""

import json
import re
from typing import Final

LEFT_OUT: Final = object()
BLANK = re.compile(r"\s*(?:#.*)?$")
QUOTED_KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*:(?:\s+(.*)|$)""")
PLAIN_KEY = re.compile(r"((?![\s\[\]{},#&*!|>%@`'\"]|[-?:](?:\s|$)).*?)\s*:(?:\s+(.*)|$)")
QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'(?!')""", re.DOTALL)
BLOCK_TEXT = re.compile(r"[|>][-+0-9]*\s*(?:#.*)?$")
TUPLE = re.compile(r"!!python/tuple\s*")  # how a Python tuple, such as betas, is dumped
NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9_]*)(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **{word: True for yes in ("true", "yes", "on") for word in (yes, yes.title(), yes.upper())},
    **{word: False for no in ("false", "no", "off") for word in (no, no.title(), no.upper())},
    **dict.fromkeys((".inf", "+.inf", ".Inf", ".INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def parse(text: str) -> object:
    """The first document of a text. Raises ValueError where it is no YAML, or YAML that is not understood."""
    lines = _Lines(text)
    try:
        if lines.peek() is None:
            return None
        found = lines.block(lines.indent)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if lines.peek() is not None:
        raise ValueError(f"line {lines.at + 1} does not stand under anything")
    return None if found is LEFT_OUT else found


def scalar(text: str) -> object:
    """The value of an unquoted word: number, truth value, nothing, or the text itself."""
    if text in WORDS:
        return WORDS[text]
    if NUMBER.fullmatch(text):
        plain = text.replace("_", "")
        return float(plain) if set(plain) & set(".eE") else int(plain)
    return text


class _Lines:
    """The lines of a document and where in them we are."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.at = 0
        self.indent = 0  # of the line that was last looked at

    def peek(self) -> str | None:
        """The next line that says something, without its indentation; None at the end of the document."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not BLANK.match(line) and not line.startswith(("%", "---")):
                text = line.lstrip(" ")
                if text.startswith("\t"):
                    raise ValueError(f"line {self.at + 1} is indented by a tab")
                if line.startswith("..."):
                    return None
                self.indent = len(line) - len(text)
                return text.rstrip()
            if line.startswith("---") and (line[3:].strip() or any(map(_says, self.lines[: self.at]))):
                return None  # another document begins, or one that stands on that line itself
            self.at += 1
        return None

    def block(self, indent: int) -> object:
        text = self.peek()
        assert text is not None
        if text == "-" or text.startswith("- "):
            return self.sequence(indent)
        if _key(text) is not None:
            return self.mapping(indent)
        self.at += 1
        return self.value(text, indent - 1, False)

    def mapping(self, indent: int) -> object:
        found: dict[str, object] = {}
        merged = False
        while (text := self.peek()) is not None and self.indent == indent:
            split = _key(text)
            if split is None:
                raise ValueError(f"line {self.at + 1} is neither a key with its value nor an item")
            key, rest = split
            self.at += 1
            value = self.value(rest, indent, True)
            merged |= key == "<<"
            found.pop(key, None)
            if value is not LEFT_OUT:
                found[key] = value
        if text is not None and self.indent > indent:
            raise ValueError(f"line {self.at + 1} is indented further than its neighbours")
        return LEFT_OUT if merged else found

    def sequence(self, indent: int) -> object:
        found: list[object] = []
        while (text := self.peek()) is not None and self.indent == indent and (text == "-" or text.startswith("- ")):
            rest = text[1:].lstrip()
            inner = indent + len(text) - len(rest) if rest else indent
            if rest and (_key(rest) is not None or rest == "-" or rest.startswith("- ")):
                self.lines[self.at] = " " * inner + rest
                found.append(self.block(inner))
            else:
                self.at += 1
                found.append(self.value(rest, indent, False))
        return LEFT_OUT if LEFT_OUT in found else found

    def value(self, rest: str, indent: int, in_mapping: bool) -> object:
        """What stands behind a key or a dash, and in the lines below that belong to it."""
        rest = TUPLE.sub("", rest, count=1) if rest.startswith("!!python/tuple") else rest
        if BLANK.match(rest):
            return self.nested(indent, in_mapping)
        if rest[0] in "&*!" or BLOCK_TEXT.match(rest):
            return self.skip(indent, in_mapping)
        if rest[0] in "{[":
            return self.flow(rest, indent)
        if rest[0] in "'\"":
            return self.quoted(rest)
        if rest[0] in "%@`" or rest.startswith("? "):
            raise ValueError(f"line {self.at}: a value cannot begin with {rest[0]}")
        text = re.split(r"\s#", rest, maxsplit=1)[0].rstrip()
        if (more := self.peek()) is not None and self.indent > indent:  # its text goes on
            if _key(more) is not None:
                raise ValueError(f"line {self.at + 1} stands under a value")
            return self.skip(indent, False)
        return scalar(text)

    def nested(self, indent: int, in_mapping: bool) -> object:
        text = self.peek()
        if text is not None and self.indent > indent:
            return self.block(self.indent)
        if text is not None and in_mapping and self.indent == indent and (text == "-" or text.startswith("- ")):
            return self.sequence(indent)  # items may stand as far left as their key
        return None

    def skip(self, indent: int, in_mapping: bool) -> object:
        """Pass over all that belongs to a value that is not read."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            depth = len(line) - len(line.lstrip())
            item = in_mapping and depth == indent and line.lstrip().startswith("-") and not line.startswith("---")
            if line.strip() and depth <= indent and not item:
                break
            self.at += 1
        return LEFT_OUT

    def quoted(self, rest: str) -> object:
        match = QUOTED.match(rest)
        if match is None:  # it ends in a later line
            quote = rest[0]
            whole = rest
            while self.at < len(self.lines):
                whole += "\n" + self.lines[self.at]
                self.at += 1
                if quote in self.lines[self.at - 1] and (match := QUOTED.match(whole)):
                    break
            if match is None or not BLANK.match(whole[match.end() :]):
                raise ValueError(f"line {self.at}: a quote does not end")
            return LEFT_OUT
        if not BLANK.match(rest[match.end() :]):
            raise ValueError(f"line {self.at}: something stands behind a quote")
        return _unquoted(match[0])

    def flow(self, rest: str, indent: int) -> object:
        """A value in braces or brackets."""
        while True:
            flow = _Flow(rest)
            try:
                found = flow.value()
            except IndexError:  # it ends in a later line
                if self.at >= len(self.lines) or len(rest) > 1 << 16:
                    raise ValueError(f"line {self.at}: a bracket does not end") from None
                rest += "\n" + self.lines[self.at]
                self.at += 1
                continue
            if not BLANK.match(rest[flow.at :]):
                raise ValueError(f"line {self.at}: something stands behind a bracket")
            return found


class _Flow:
    """Values in braces and brackets. An IndexError means that the text ends too early."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def value(self) -> object:
        self._space()
        sign = self.text[self.at]
        if sign == "[":
            return self._items()
        if sign == "{":
            return self._pairs()
        word = self._word(is_key=False)
        return LEFT_OUT if sign in "&*!" else word

    def _items(self) -> object:
        found: list[object] = []
        self.at += 1
        while self._space() != "]":
            found.append(self.value())
            if self._space() == ":":
                raise ValueError("a pair without braces")
            self._comma("]")
        self.at += 1
        return LEFT_OUT if LEFT_OUT in found else found

    def _pairs(self) -> dict[str, object]:
        found: dict[str, object] = {}
        self.at += 1
        while self._space() != "}":
            key = self._word(is_key=True)
            if self._space() == ":":
                self.at += 1
                value = None if self._space() in ",}" else self.value()
                if value is not LEFT_OUT:
                    found[str(key)] = value
            else:
                found[str(key)] = None
            self._comma("}")
        self.at += 1
        return found

    def _word(self, *, is_key: bool) -> object:
        """A quoted or plain word, as far as the next sign that ends it."""
        if self.text[self.at] in "?|>%@`" and self.text[self.at + 1] in " \t\n":
            raise ValueError(f"unexpected {self.text[self.at]}")
        if self.text[self.at] in "'\"":
            match = QUOTED.match(self.text, self.at)
            if match is None:
                raise IndexError
            self.at = match.end()
            return LEFT_OUT if "\n" in match[0] else _unquoted(match[0])
        start = self.at
        while not (self.text[self.at] in ",[]{}\n" or self._ends(":") or self.text[self.at - 1 : self.at + 1] == " #"):
            self.at += 1
        if self.at == start:
            raise ValueError(f"unexpected {self.text[self.at]}")
        word = self.text[start : self.at].strip()
        if self.text[self.at] == "\n" and self.text[self.at :].lstrip()[:1] not in (",", "]", "}", ":", "#"):
            self._rest()
            return LEFT_OUT
        return word if is_key else scalar(word)

    def _rest(self) -> None:
        """Pass over the further lines of a plain text."""
        while not (self.text[self.at] in ",[]{}" or self._ends(":")):
            self.at += 1

    def _ends(self, sign: str) -> bool:
        return self.text[self.at] == sign and self.text[self.at + 1] in " ,[]{}\n\t"

    def _space(self) -> str:
        while self.text[self.at] in " \t\n" or self.text[self.at] == "#":
            self.at = self.text.index("\n", self.at) if self._comment() else self.at + 1
        return self.text[self.at]

    def _comment(self) -> bool:
        if self.text[self.at] != "#":
            return False
        if "\n" not in self.text[self.at :]:
            raise IndexError
        return True

    def _comma(self, end: str) -> None:
        sign = self._space()
        if sign == ",":
            self.at += 1
        elif sign != end:
            raise ValueError(f"expected a comma, found {sign}")


def _says(line: str) -> bool:
    return not BLANK.match(line) and not line.startswith(("%", "---"))


def _key(text: str) -> tuple[str, str] | None:
    """The key with which a line begins, and what stands behind it; None for a line without one."""
    if match := QUOTED_KEY.match(text):
        return str(_unquoted(match[1])), match[2] or ""
    match = PLAIN_KEY.match(text)
    if match is None or re.search(r"\s#", match[1]):
        return None
    return match[1], match[2] or ""


def _unquoted(text: str) -> object:
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    try:
        return json.loads(text, strict=False)
    except json.JSONDecodeError:  # an escape that JSON does not have
        return LEFT_OUT
