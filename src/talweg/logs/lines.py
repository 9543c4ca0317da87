"""The numbers in the lines of a log. A format says where they stand in one line; here all lines like it follow.

Two lines are alike when they differ in their numbers alone: `iter 20: loss 5.0956` and `iter 30: loss 4.9012` both have
the skeleton `iter 0: loss 0`, whatever the launcher put before them. `parse` is asked once a skeleton, where each field
stands; the numbers of all other lines with that skeleton are then taken at those places, thousands at a time. A log has
few skeletons, so the cost of a line is that of finding its numbers.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from talweg.logs.columns import decimals
from talweg.logs.pieces import LineText, pieces
from talweg.logs.prefix import bare
from talweg.logs.recipes import Fields, Parse, Recipe, recipes, runs, values_of
from talweg.run import Reading

MOST_SKELETONS = 100_000  # that are remembered; prose has one a line
MOST_ASKED = 1_000  # lines of one skeleton without a field that are shown to `other`: what repeats so is no setting
MOST_BROKEN = 100  # lines of one skeleton that are judged one by one for a number that is none
BROKEN = re.compile(r"\.[0-9]*\.|(?<![0-9])\.(?![0-9])")
SAMPLED = 100  # numbers of a field by which its printed digits are told
SLOT_BITS = 21  # a chunk has fewer runs of digits than 2 to this
RARE = 3  # so many times more lines go on where one ends sooner, with fewer digits: it is torn. Our choice
MOST_LONGER = 100  # longer kinds of line that one is compared with
TO_SKELETON = bytes(ord("0") if chr(byte) in "0123456789." else byte for byte in range(256))


@dataclass(frozen=True, eq=False)
class Points:
    """One field in the order of the log."""

    line: NDArray[np.int64]  # (T,) the line it stands in, the first is 0
    step: NDArray[np.float64]  # (T,) NaN before any step was seen
    value: NDArray[np.float64]  # (T,)
    rank: NDArray[np.int64] | None = None  # (T,) the process that printed it; -1 where the line does not say
    decimals: int = 0  # most digits after the decimal point, of those looked at; -2: printed in hundreds

    def __len__(self) -> int:
        return int(self.line.size)


@dataclass
class _Skeleton:
    """One kind of line: for each field the runs of digits that make its number."""

    fields: Fields
    recipes: dict[str, "Recipe"] | None  # None: the numbers are no plain runs; each such line is parsed by itself
    tail_decimals: int = -1  # of the number that ends the line, in the last complete one; -1: no number ends it
    seen: int = 0
    last_field: str = ""  # that whose number ends the line
    fewest: int = 1000  # digits after the point of that number, of those looked at

    @classmethod
    def of(cls, line: str, fields: Fields) -> "_Skeleton":
        end = len(line.rstrip())
        last = next((name for name, span in fields.items() if span.end == end), "")
        return cls(fields, recipes(line, fields), last_field=last)


@dataclass(frozen=True, eq=False)
class _Group:
    """Lines of one kind of one chunk: what their fields share."""

    line: NDArray[np.int64]
    step: NDArray[np.float64] | None  # None: these lines name no step
    rank: NDArray[np.int64] | None
    kind: _Skeleton

    def steps(self) -> NDArray[np.float64]:
        return np.full(self.line.size, np.nan) if self.step is None else self.step

    def ranks(self) -> NDArray[np.int64]:
        return np.full(self.line.size, -1) if self.rank is None else self.rank


@dataclass(frozen=True, eq=False)
class _Order:
    """The lines of a field in the order of the log, with what they share with all fields of the same lines."""

    line: NDArray[np.int64]
    step: NDArray[np.float64]
    rank: NDArray[np.int64] | None
    sorting: NDArray[np.intp] | None  # that puts values in order: kinds of line were taken one after the other

    @classmethod
    def of(cls, groups: Sequence[_Group]) -> "_Order":
        line = np.concatenate([group.line for group in groups]) if groups else np.empty(0, dtype=np.int64)
        step = np.concatenate([group.steps() for group in groups]) if groups else np.empty(0)
        rank = None
        if any(group.rank is not None for group in groups):
            rank = np.concatenate([group.ranks() for group in groups])
        if bool(np.all(line[1:] >= line[:-1])):
            return cls(line, step, rank, None)
        sorting = np.argsort(line, kind="stable")
        return cls(line[sorting], step[sorting], None if rank is None else rank[sorting], sorting)


@dataclass
class Lines:
    """All lines of one log, taken piece by piece.

    parse: the fields of a line (characters are bytes: it is decoded as Latin-1), None where it has none.
    other: told of lines without a field, in their order: the line without what a launcher put before it, its number,
        and how many lines with a field stand before it. Says whether it was understood.
    """

    parse: Parse
    other: Callable[[str, int, int], bool] | None = None
    complete: Callable[[str], bool] | None = None  # of a last line without an end, like none before: is it whole?
    num_lines: int = 0
    num_with_fields: int = 0
    num_not_understood: int = 0
    unknown: list[tuple[int, str]] = field(default_factory=list)  # the first few lines not understood
    cut: str = ""  # the last line, where it was left out because it is cut off
    _codes: dict[bytes, int] = field(default_factory=dict)  # skeleton -> kind << SLOT_BITS | runs; kind 0: no field
    _kinds: list[_Skeleton | None] = field(default_factory=lambda: [None])
    _parts: dict[str, list[tuple["_Group", NDArray[np.float64]]]] = field(default_factory=dict)
    _decimals: dict[str, int] = field(default_factory=dict)
    _asked: dict[bytes, int] = field(default_factory=dict)
    _broken: dict[bytes, int] = field(default_factory=dict)

    def read(self, chunks: Iterable[bytes]) -> "Lines":
        """Take all pieces, each of which ends at the end of a line, but for the last one perhaps."""
        for chunk in chunks:
            for piece in pieces(chunk):
                self.take(piece)
        return self

    def take(self, chunk: bytes) -> None:
        """Take whole lines; what follows the last line end is judged as a line that may be cut off."""
        body, end, rest = chunk.rpartition(b"\n")
        if end:
            self._take(body + end)
        if rest:
            self._take_last(rest)

    def points(self) -> dict[str, Points]:
        """All fields but step and rank, lines that lack a step given the last one seen before them."""
        self._leave_out_torn()
        shared: dict[tuple[int, ...], _Order] = {}
        found = {name: self._joined(name, shared) for name in self._parts if name != "step"}
        if not any(np.isnan(points.step).any() for points in found.values()):
            return found
        steps = self._joined("step", shared)
        return {name: _filled(points, steps) for name, points in found.items()}

    def reading(self) -> Reading:
        """How many lines there were, and which were not understood."""
        notes = ("the last line is cut off in the middle and was left out",) if self.cut else ()
        unknown = tuple((number + 1, line) for number, line in self.unknown)
        return Reading(self.num_lines, self.num_not_understood, notes, unknown)

    # ------------------------------------------------------------ lines

    def _take(self, chunk: bytes) -> None:
        text = np.frombuffer(chunk, dtype=np.uint8)
        zeros = np.frombuffer(chunk.translate(TO_SKELETON), dtype=np.uint8)
        digit = zeros == ord("0")
        keep = np.ones(digit.size, dtype=np.bool_)
        np.logical_and(digit[1:], digit[:-1], out=keep[1:])
        np.logical_not(keep[1:], out=keep[1:])
        skeletons = zeros[keep].tobytes().split(b"\n")[:-1]
        edges = np.flatnonzero(digit[1:] != digit[:-1]) + 1
        if digit[0]:
            edges = np.append(0, edges)
        codes = np.fromiter(map(self._codes.get, skeletons, repeat(-1)), np.int64, len(skeletons))
        lines = LineText(chunk)
        if (codes < 0).any():
            self._learn(codes, skeletons, lines)
        starts, ends = edges[::2], edges[1::2]
        slots = codes & ((1 << SLOT_BITS) - 1)
        base = np.cumsum(slots) - slots
        kinds = codes >> SLOT_BITS
        for kind in np.flatnonzero(np.bincount(kinds)):
            rows = np.flatnonzero(kinds == kind)
            if kind:
                self._extract(self._kinds[kind], rows, base[rows], text, starts, ends, lines)  # type: ignore[arg-type]
            else:
                self._pass_over(rows, skeletons, lines, np.cumsum(kinds > 0))
        self.num_lines += len(skeletons)
        self.num_with_fields += int(np.count_nonzero(kinds))

    def _learn(self, codes: NDArray[np.int64], skeletons: Sequence[bytes], lines: LineText) -> None:
        """Ask `parse` about lines like none before."""
        if len(self._codes) > MOST_SKELETONS:
            self._codes = {key: code for key, code in self._codes.items() if code >> SLOT_BITS}
        for row in map(int, np.flatnonzero(codes < 0)):
            skeleton = skeletons[row]
            code = self._codes.get(skeleton)
            if code is None:
                line = lines[row]
                fields = self.parse(line)
                kind = 0
                if fields:
                    kind = len(self._kinds)
                    self._kinds.append(_Skeleton.of(line, fields))
                code = kind << SLOT_BITS | skeleton.count(b"0")
                if not self._is_broken(line, skeleton):
                    self._codes[skeleton] = code
            codes[row] = code

    def _is_broken(self, line: str, skeleton: bytes) -> bool:
        """Whether a number of this line is none, such as 1.2.3: it says nothing about the next line like it."""
        if not BROKEN.search(line) or self._broken.get(skeleton, 0) >= MOST_BROKEN:
            return False
        self._broken[skeleton] = self._broken.get(skeleton, 0) + 1
        return True

    def _extract(
        self,
        kind: _Skeleton,
        rows: NDArray[np.intp],
        base: NDArray[np.int64],
        text: NDArray[np.uint8],
        starts: NDArray[np.intp],
        ends: NDArray[np.intp],
        lines: LineText,
    ) -> None:
        """The fields of all lines of one kind."""
        sample = [lines[row] for row in rows[:SAMPLED]] if kind.seen < SAMPLED else []
        kind.fewest = min([kind.fewest, *map(_tail_decimals, sample)])
        kind.seen += rows.size
        kind.tail_decimals = _tail_decimals(lines[rows[-1]])
        if kind.recipes is None:
            self._one_by_one(kind, rows, lines)
            return
        values: dict[str, NDArray[np.float64]] = {}
        for name, recipe in kind.recipes.items():
            values[name] = values_of(recipe, rows.size, base, text, starts, ends)
            for line in sample:
                self._see_decimals(name, recipe, [line[start:end] for start, end in runs(line)])
        broken = np.zeros(rows.size, dtype=np.bool_)
        for name, recipe in kind.recipes.items():
            if recipe.constant is None:
                broken |= np.isnan(values[name])
        if broken.any():  # a run of digits that is no number, such as 1.2.3, where this line's likes have one
            self._one_by_one(kind, rows[broken], lines)
            values = {name: value[~broken] for name, value in values.items()}
            rows = rows[~broken]
        self._add(kind, rows.astype(np.int64) + self.num_lines, values)

    def _one_by_one(self, kind: _Skeleton, rows: NDArray[np.intp], lines: LineText) -> None:
        for row in rows:
            line = lines[row]
            fields = self.parse(line) or {}
            for name, span in fields.items():
                digits = decimals([line[span.start : span.end]]) - round(float(np.log10(span.scale)))
                self._decimals[name] = max(self._decimals.get(name, 0), digits)
            try:
                values = {
                    name: np.array([float(line[span.start : span.end].replace(",", "")) * span.scale])
                    for name, span in fields.items()
                }
            except ValueError:
                values = {}
            if values:
                self._add(kind, np.array([row + self.num_lines]), values)
            else:
                self.num_not_understood += 1

    def _add(self, kind: _Skeleton, line: NDArray[np.int64], values: Mapping[str, NDArray[np.float64]]) -> None:
        rank = values["rank"].astype(np.int64) if "rank" in values else None
        group = _Group(line, values.get("step"), rank, kind)
        for name, value in values.items():
            if name != "rank":
                self._parts.setdefault(name, []).append((group, value))

    def _pass_over(
        self, rows: NDArray[np.intp], skeletons: Sequence[bytes], lines: LineText, before: NDArray[np.int64]
    ) -> None:
        """Lines without a field."""
        for row in rows:
            skeleton = skeletons[row]
            if not skeleton or skeleton.isspace():
                continue
            asked = self._asked.get(skeleton, 0)
            if self.other is not None and asked < MOST_ASKED:
                self._asked[skeleton] = asked + 1
                place, above = self.num_lines + int(row), self.num_with_fields + int(before[row])
                if self.other(bare(lines.decoded(row)), place, above):
                    continue
            self.num_not_understood += 1
            if len(self.unknown) < 5:
                self.unknown.append((self.num_lines + int(row), lines.decoded(row)))
        if len(self._asked) > MOST_SKELETONS:
            self._asked.clear()
            self._broken.clear()

    def _take_last(self, rest: bytes) -> None:
        """A line without its end, which may lack digits: taken if it is as complete as one of its kind before."""
        line = rest.decode("latin-1")
        skeleton = re.sub(rb"0+", b"0", rest.translate(TO_SKELETON))
        code = self._codes.get(skeleton, 0)
        kind = self._kinds[code >> SLOT_BITS]
        fields = self.parse(line)
        if not fields:
            known = (key for key, code in self._codes.items() if code >> SLOT_BITS)
            if any(key.startswith(skeleton.rstrip(b"0")) for key in known) and len(skeleton) > 3:
                self._leave_out(line)
            else:
                self._take(rest + b"\n")
        elif kind is not None:
            # an integer at the end of a line may lack digits that nothing shows
            whole = kind.seen > 0 and _tail_decimals(line) == kind.tail_decimals != 0
            self._take(rest + b"\n") if whole else self._leave_out(line)
        elif self.complete is not None and self.complete(line):
            self._take(rest + b"\n")
        else:
            self._leave_out(line)

    def _leave_out_torn(self) -> None:
        """A few lines that end in a number where their likes go on, and with fewer digits, are torn there."""
        codes = sorted((key, code >> SLOT_BITS) for key, code in self._codes.items() if code >> SLOT_BITS)
        torn: set[int] = set()
        for place, (skeleton, number) in enumerate(codes):
            kind = self._kinds[number]
            if kind is None or not kind.last_field or kind.fewest >= max(self._decimals.get(kind.last_field, 0), 1):
                continue
            begin, after = skeleton.rstrip(), codes[place + 1 : place + MOST_LONGER]
            longer = [self._kinds[other] for key, other in after if key.startswith(begin)]
            if any(other is not None and other.seen > RARE * kind.seen for other in longer):
                torn.add(id(kind))
        for name, parts in self._parts.items() if torn else ():
            kept = [(group, v) for group, v in parts if not (id(group.kind) in torn and group.kind.last_field == name)]
            self.num_not_understood += sum(v.size for _, v in parts) - sum(v.size for _, v in kept)
            self._parts[name] = kept

    def _leave_out(self, line: str) -> None:
        self.cut = line
        self.num_lines += 1
        self.num_not_understood += 1

    def _see_decimals(self, name: str, recipe: Recipe, texts: Sequence[str]) -> None:
        if recipe.constant is not None:
            return
        digits = len(texts[recipe.whole[-1]].partition(".")[2])
        if recipe.exponent is not None:
            digits -= recipe.exponent_sign * int(texts[recipe.exponent].partition(".")[0] or 0)
        if recipe.scale != 1.0:
            digits -= round(float(np.log10(recipe.scale)))
        self._decimals[name] = max(self._decimals.get(name, digits), digits)

    # ------------------------------------------------------------ fields

    def _joined(self, name: str, shared: dict[tuple[int, ...], _Order]) -> Points:
        """All parts of a field. Fields of the same lines share the arrays that say which lines these are."""
        parts = self._parts.get(name, [])
        value = np.concatenate([value for _, value in parts]) if parts else np.empty(0)
        key = tuple(id(group) for group, _ in parts)
        if (order := shared.get(key)) is None:
            order = shared[key] = _Order.of([group for group, _ in parts])
        if order.sorting is not None:
            value = value[order.sorting]
        return Points(order.line, order.step, value, order.rank, self._decimals.get(name, 0))


def _filled(points: Points, steps: Points) -> Points:
    """Points without a step get that of the last line before them that has one."""
    lacking = np.isnan(points.step)
    if not lacking.any() or not len(steps):
        return points
    place = np.searchsorted(steps.line, points.line[lacking]) - 1
    step = points.step.copy()
    step[lacking] = np.where(place >= 0, steps.value[np.maximum(place, 0)], np.nan)
    return replace(points, step=step)


def _tail_decimals(line: str) -> int:
    """Digits after the point of the number that ends a line; -1 where none does."""
    match = re.search(r"[0-9]*(?:(\.)([0-9]*))?$", line.rstrip())
    return -1 if match is None or not match[0] else len(match[2] or "")
