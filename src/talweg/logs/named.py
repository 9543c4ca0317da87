"""Numbers that stand in a line behind their names: `lr 3.0e-4, grad norm: 0.91 | dt: 33.1ms | tok/sec: 15,449`.

A table says what a reader takes a name for; every other named number is kept as a column under its own name.
"""

import re
from collections.abc import Mapping

from talweg.logs.assemble import Column
from talweg.logs.lines import Points
from talweg.logs.recipes import NUMBER, Span
from talweg.run import LossKind

NAMED = re.compile(
    rf"(?<![\w.])(?P<name>[A-Za-z][\w/@.-]*(?:[ ]+[A-Za-z][\w/@.-]*){{0,2}}?)(?P<sign>\s*[:=]\s*|\s+)"
    rf"(?P<number>{NUMBER})\s?(?P<unit>[A-Za-z%/]*)(?=[\s,|;)\]]|$)"
)
LONGEST = 500  # characters of a line that are searched: longer ones are no log of a trainer
RESERVED = ("step", "rank")  # known to the engine: a number of this name behind the first is another

# (name in lower case, unit behind the number) -> field, factor to our unit
Names = Mapping[tuple[str, str], tuple[str, float]]
# field -> column of Run, kind
Roles = Mapping[str, tuple[str | None, LossKind]]


def _units(field: str, *names: str, **factors: float) -> dict[tuple[str, str], tuple[str, float]]:
    return {(name, unit): (field, factor) for name in names for unit, factor in factors.items()}


# What trainers of this family call the same things
USUAL: Names = {
    **_units("seconds_per_step", "time", "dt", "iter time", "train time", "step_time", ms=1e-3, s=1.0),
    **_units("mfu", "mfu", **{"%": 1e-2}),
    **{(name, ""): ("learning_rate", 1.0) for name in ("lr", "learning_rate", "learning rate")},
    **{(name, ""): ("grad_norm", 1.0) for name in ("grad_norm", "grad norm", "gradnorm", "gnorm", "norm")},
    **{
        (name, ""): ("tokens_per_second", 1.0)
        for name in ("tok/sec", "tok/s", "tokens/sec", "tokens/s", "tok_per_sec", "tokens_per_sec", "tps")
    },
}
USUAL_ROLES: Roles = {
    name: (name, "unknown") for name in ("seconds_per_step", "mfu", "learning_rate", "grad_norm", "tokens_per_second")
}


def take_named(fields: dict[str, Span], line: str, start: int, names: Names, *, strict: bool = False) -> None:
    """Add to `fields` what stands in a line from `start` on; the first of two with one name counts.

    strict: a name that the table lacks needs a sign (: or =) before its number, as prose has names and numbers too.
    """
    for match in NAMED.finditer(line, start, start + LONGEST):
        name, unit = " ".join(match["name"].lower().split()), match["unit"].lower()
        known = names.get((name, unit))
        if known is not None:
            fields.setdefault(known[0], Span(*match.span("number"), known[1]))
        elif not strict or match["sign"].strip():
            label = f"{name} ({match['unit']})" if unit else name
            fields.setdefault(f"{label} (of the line)" if label in RESERVED else label, Span(*match.span("number")))


def columns_of(points: Mapping[str, Points], roles: Roles, labels: Mapping[str, str] = {}) -> list[Column]:
    """A column of each field: those of `roles` first and in its order, then the others under their own names."""
    known = [name for name in roles if name in points]
    found = [Column.of(labels.get(name, name), points[name], *roles[name]) for name in known]
    return found + [Column.of(labels.get(name, name), points[name]) for name in sorted(set(points) - set(known))]
