"""The output of Megatron-LM and of what is built on it: Megatron-DeepSpeed, GPT-NeoX.

    iteration  20/ 300 | consumed samples: 320 | elapsed time per iteration (ms): 44.9 | learning rate: 2.9E-04 |
        global batch size: 16 | lm loss: 4.675659E+00 | loss scale: 1.0 | grad norm: 1.532 |
        number of skipped iterations: 0 | number of nan iterations: 0 |                        (one line)
    validation loss at iteration 100 | lm loss value: 2.9E+00 | lm loss PPL: 1.8E+01 |

A loss is the mean over the updates since the line before and over all ranks; of updates that an fp16 scaler skipped
none is taken. Megatron leaves the loss out of the line where that mean is NaN, and where there was no update at all;
GPT-NeoX prints NAN, and 0 where there was no update.
"""

import re
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from talweg.configs import megatron as arguments
from talweg.errors import InputError
from talweg.logs.assemble import Column, assemble, with_loads
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.logs.prefix import core, rank_in
from talweg.logs.recipes import NUMBER, Fields, Span
from talweg.run import Facts, LossKind, Run, Series

NAME = "megatron"

ITERATION = re.compile(
    rf"(?:samples/sec:\s*(?P<samples>{NUMBER})\s*\|\s*(?:\[[^\]|]*\]\s*)?)?"
    r"iteration\s+(?P<step>[0-9]+)\s*/\s*(?P<planned>[0-9]+)\s*(?P<rest>\|.*)$"
)
EVALUATION = re.compile(
    r"(?P<what>valid(?:ation)?|test)(?P<set>[\w.-]*)\s+(?:loss|results)\s+at\s+"
    r"(?:iteration\s+(?P<step>[0-9]+)|the end of training)(?P<split>\s+(?:on|for)\s+\w+\s+(?:set|data))?"
    r"\s*(?P<tag>\[[^\]|]*\])?\s*(?P<rest>\|.*)$"
)
FIELD = re.compile(rf"\|\s*(?P<key>[A-Za-z][^:|]*?)\s*:\s*(?P<value>{NUMBER})\s*(?P<unit>[KMGTPEZ]?FLOPS)?\s*(?=\||$)")
ANOTHER = re.compile(r"\biteration\s+[0-9]+\s*/")
OURS = ("elapsed time per iteration", "consumed samples", "learning rate", "number of skipped iterations")
LONGEST_FIELDS = 3_000  # characters of a line that are searched for fields
FLOPS = {f"{prefix}FLOPS": 10.0 ** (3 * power) for power, prefix in enumerate(("", "K", "M", "G", "T", "P", "E", "Z"))}

ITERATIONS = "iteration"  # the step once more, as a field: it tells which lines lack a loss
PLANNED = "planned iterations"
SKIPPED, NANS = "number of skipped iterations", "number of nan iterations"
LOSSES = ("lm loss", "lm_loss", "loss")
LOSS_VALUE = re.compile(r" (?:lm[ _]loss|loss) value$|LM loss$", re.IGNORECASE)  # of an evaluation
# column of Run <- names in the log, the first that is there, and the factor to our unit
ROLES: dict[str, tuple[str, float]] = {
    "learning rate": ("learning_rate", 1.0),
    "grad norm": ("grad_norm", 1.0),
    "grad_norm": ("grad_norm", 1.0),
    "elapsed time per iteration (ms)": ("seconds_per_step", 1e-3),
    "elapsed time per iteration (s)": ("seconds_per_step", 1.0),
}

PADDED = re.compile(r"> padded vocab \(size: ([0-9]+)\) with [0-9]+ dummy tokens \(new size: ([0-9]+)\)")
PARAMETERS = re.compile(
    r"> number of parameters on (?:\(tensor, pipeline\) )?model parallel rank \(?([0-9, ]+)\)?: ([0-9]+)\s*$"
)
LOADED = re.compile(r"successfully loaded checkpoint from (\S+).*? (?:at|to) iteration ([0-9]+)")
CHATTER = re.compile(
    r"^\W*$|saving checkpoint at iteration|successfully saved checkpoint|time \(ms\) \||^\W*time across"
)


def sniff(head: Head) -> float:
    """One line of an iteration with Megatron's fields is unmistakable, a line of an evaluation nearly so."""
    text = head.text
    if "iteration" not in text or head.is_source:
        return 0.0
    found = [parse(line) for line in text.split("\n") if "iteration" in line or " at the end of " in line]
    if any(fields is not None and ITERATIONS in fields for fields in found):
        return 0.95
    return 0.9 if any(found) else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that this output tells of. Raises InputError when no loss stands in it."""
    asked.refuse_columns(f"{log.source or 'this log'} is of Megatron")
    told = _Told()
    lines = Lines(parse, told.take).read(log.chunks())
    points = lines.points()
    loss_name = next((name for name in LOSSES if name in points), None)
    columns, notes = _evaluations(points)
    if loss_name is None and not columns:
        raise InputError(_why_none(log.source or "this log", points))
    reading = lines.reading()
    stated = told.facts()
    facts = stated.over(_printed(points, stated))
    if loss_name is not None:
        loss, stands_for = _losses(points, loss_name, facts)
        window = told.log_interval or _interval(points)
        kind: LossKind = "unknown" if window is None else "batch" if window == 1 else "interval_mean"
        columns.insert(0, Column.of(loss_name, loss, "train_loss", kind))
        facts = facts.over(Facts.stated("Megatron logs the mean of all ranks", train_loss_ranks="mean"))
        if kind == "interval_mean":
            facts = facts.over(Facts.stated("the iterations between lines", train_loss_window=window))
        if stands_for is not None:
            notes.append(
                f"{loss.value.size - np.isfinite(loss.value).sum()} losses are not finite; NaN is not printed as such"
            )
            facts = facts.over(Facts.stated("the lines of the iterations", nan_logged_as=stands_for))
    columns += _others(points, {loss_name, *(column.name for column in columns)}, facts)
    reading = replace(reading, notes=(*reading.notes, *told.notes, *notes))
    run = assemble(columns, source=log.source, format=NAME, facts=facts, reading=reading)
    return told.resumed(_with_skipped(run))


def _why_none(source: str, points: dict[str, Points]) -> str:
    if ITERATIONS not in points:
        return f"{source}: no line of Megatron with a loss was found (iteration 10/ 100 | ... | lm loss: ...)"
    num = len(points[ITERATIONS])
    return (
        f"{source}: none of its {num} lines of iterations holds a loss, which Megatron leaves out where it is NaN and "
        "where a scaler skipped every update; give a log that reaches back to a loss, or on to one"
    )


def parse(line: str) -> Fields | None:
    """Where the numbers of an iteration or of an evaluation stand in its line."""
    if "|" not in line:
        return None
    if (match := core(ITERATION, line)) is not None:
        before = ""
        fields = {"step": Span(*match.span("step")), PLANNED: Span(*match.span("planned"))}
        fields[ITERATIONS] = fields["step"]
        if match["samples"] is not None:
            fields["samples/sec"] = Span(*match.span("samples"))
    elif (match := core(EVALUATION, line)) is not None:
        test, tag = "test" in (match["what"], *(match["split"] or "").split()), f"{match['set']}{match['tag'] or ''}"
        last = match["split"] is not None or match["step"] is None
        before = ("test" if test else "validation") + tag + (" at the end " if last and not test else " ")
        fields = {} if match["step"] is None else {"step": Span(*match.span("step"))}
    else:
        return None
    start = match.start("rest")
    another = ANOTHER.search(line, start)  # of a process that wrote behind it, the line end being lost
    end = match.end("rest") if another is None else another.start()
    for found in FIELD.finditer(line, start, min(end, start + LONGEST_FIELDS)):
        key = " ".join(found["key"].split())
        fields.setdefault(before + key, Span(*found.span("value"), FLOPS.get(found["unit"] or "", 1.0)))
    known = any(key.startswith(OURS) for key in fields) if ITERATIONS in fields else any(map(LOSS_VALUE.search, fields))
    if not known:
        return None
    if (rank := rank_in(match)) is not None:
        fields["rank"] = Span(*rank)
    return fields


# ---------------------------------------------------------------- losses


def _interval(points: dict[str, Points]) -> int | None:
    """Iterations from one line to the next."""
    steps = np.unique(points[ITERATIONS].step)
    gaps = np.diff(steps)
    return int(np.median(gaps)) if gaps.size else int(steps[0]) if steps.size and steps[0] == 1 else None


def _losses(points: dict[str, Points], name: str, facts: Facts) -> tuple[Points, str | None]:
    """The training losses, NaN where a line lacks one that it must have had; and what stands for NaN."""
    lines, loss = points[ITERATIONS], points[name]
    skipped, nans = _at(points.get(SKIPPED), lines), _at(points.get(NANS), lines)
    value = np.full(len(lines), np.nan)
    value[np.searchsorted(lines.line, loss.line)] = loss.value
    there = np.isin(lines.line, loss.line)
    none = there & (value == 0.0) & (skipped > 0)  # a mean over no update
    lacking = ~there | none
    torn = np.zeros(len(lines), dtype=np.bool_)  # the line ends before it says how many updates were skipped
    if SKIPPED in points:
        torn = ~np.isin(lines.line, points[SKIPPED].line)
        all_skipped = (skipped > 0) & (skipped >= _lengths(lines.step))
    else:
        all_skipped = np.full(len(lines), facts.precision not in ("bf16", "fp32"))
    is_nan = lacking & ~torn & (~all_skipped | (nans > 0))
    keep = ~lacking | is_nan
    value[is_nan] = np.nan
    rank = None if lines.rank is None else lines.rank[keep]
    made = replace(loss, line=lines.line[keep], step=lines.step[keep], value=value[keep], rank=rank)
    stands_for = "left out" if bool(np.any(is_nan & ~there)) else "0" if bool(is_nan.any()) else None
    return made, stands_for


def _lengths(step: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) how many iterations each line tells of; where a start cut the first short, 1: that many at least."""
    steps = np.unique(step)
    apart = np.diff(steps)
    usual = np.median(apart) if apart.size else np.inf
    lengths = np.minimum(np.diff(steps, prepend=0.0), usual)[np.searchsorted(steps, step)]
    if step.size and step[0] != usual:
        lengths[step == step[0]] = 1.0
    lengths[1:][np.diff(step) < 0] = 1.0
    return lengths


def _at(points: Points | None, lines: Points) -> NDArray[np.float64]:
    """(T,) a field of the same lines; 0 where a line has none."""
    values = np.zeros(len(lines))
    if points is not None:
        values[np.searchsorted(lines.line, points.line)] = points.value
    return values


def _evaluations(points: dict[str, Points]) -> tuple[list[Column], list[str]]:
    """Validation as it was made along the way; what was made at the end is of other batches and stands apart."""
    found = [name for name in points if name.startswith(("validation", "test"))]
    losses = [name for name in found if LOSS_VALUE.search(name)]
    along = [name for name in losses if name.startswith("validation") and " at the end " not in name]
    last = [name for name in losses if name.startswith("validation") and " at the end " in name]
    columns: list[Column] = []
    notes: list[str] = []
    if along:
        columns.append(Column.of(along[0], points[along[0]], "val_loss", "evaluation"))
    if last:
        late = points[last[0]]
        if along:
            columns.append(Column.of(last[0], late, None, "evaluation"))
        else:
            columns.append(Column.of(last[0], late, "val_loss", "evaluation"))
    taken = {column.name for column in columns}
    columns += [Column.of(name, points[name], None, "evaluation") for name in losses if name not in taken]
    if len(along) > 1:
        notes.append(f"several validation sets are logged; {along[0]} was taken, the others stand under their names")
    return columns, notes


# ---------------------------------------------------------------- other columns and facts


def _others(points: dict[str, Points], taken: set[str | None], facts: Facts) -> list[Column]:
    columns = []
    for name, found in points.items():
        if name in taken or name in (ITERATIONS, PLANNED):
            continue
        role, scale = ROLES.get(name, (None, 1.0))
        if name == "loss scale" and _is_scaler(found.value, facts.precision):
            role = "loss_scale"
        columns.append(Column.of(name, found, role, scale=scale))
    return columns


def _is_scaler(value: NDArray[np.float64], precision: str | None) -> bool:
    """Under bf16 a scale is printed too; where the log does not say, powers of two above 1 are an fp16 scaler's."""
    if precision is not None:
        return precision == "fp16"
    powers = np.log2(value[value > 0])
    return bool(powers.size and np.any(powers > 0) and np.all(powers == np.round(powers)))


def _printed(points: dict[str, Points], stated: Facts) -> Facts:
    """What the lines of the iterations tell: planned length, context, tokens per update of a batch that stays."""
    found: dict[str, object] = {}
    if PLANNED in points and len(points[PLANNED]):
        found["planned_steps"] = int(points[PLANNED].value[-1])
    context = stated.context
    tokens, samples = points.get("consumed tokens"), points.get("consumed samples")
    if tokens is not None and samples is not None and len(tokens) == len(samples) and samples.value[-1] > 0:
        each = tokens.value / np.maximum(samples.value, 1.0)
        if bool(np.all(each == each[0])) and each[0] == round(each[0]):
            context = found["context"] = int(each[0])
    batch = points.get("global batch size")
    if batch is not None and context is not None and bool(np.all(batch.value == batch.value[0])):
        found["tokens_per_step"] = float(batch.value[0]) * context
    return Facts.stated("printed with the iterations", **found)


def _with_skipped(run: Run) -> Run:
    """Skipped iterations are counted anew for each line; ours is the count so far."""
    each = run.others.get(SKIPPED)
    if each is None:
        return run
    total: Series = replace(each, value=np.cumsum(each.value), name=f"{SKIPPED}, summed up")
    return replace(run, skipped_steps=total)


# ---------------------------------------------------------------- what else it prints


@dataclass
class _Told:
    """The arguments and sizes that the lines without a loss tell; those of the last start count."""

    values: dict[str, object] = field(default_factory=dict)
    printed: dict[str, object] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)  # by the rank that holds them
    resumes: list[float] = field(default_factory=list)
    loaded: str | None = None
    num_blocks: int = 0
    within: bool = False  # a block of arguments

    @property
    def log_interval(self) -> int | None:
        value = self.values.get("log_interval")
        return value if isinstance(value, int) else None

    @property
    def notes(self) -> tuple[str, ...]:
        if self.num_blocks < 2:
            return ()
        return (f"the log holds {self.num_blocks} blocks of arguments; the last one was taken",)

    def take(self, line: str, number: int, num_losses: int) -> bool:
        """Read what one line tells; whether it was understood."""
        if arguments.BEGIN.search(line):
            self.values, self.weights, self.within = {}, {}, True
            self.num_blocks += 1
        elif arguments.END.search(line):
            self.within = False
        elif self.within and (pair := arguments.argument(line)) is not None:
            self.values[pair[0]] = pair[1]
        elif (found := PADDED.search(line)) is not None:
            self.printed |= {"tokenizer_vocabulary": int(found[1]), "vocabulary_size": int(found[2])}
        elif (found := PARAMETERS.search(line)) is not None:
            self.weights[found[1]] = float(found[2])
        elif (found := LOADED.search(line)) is not None:
            self.resumes.append(float(found[2]))
            self.loaded = found[1]
        else:
            return CHATTER.search(line) is not None
        return True

    def facts(self) -> Facts:
        """The arguments under what was printed apart from them."""
        stated = arguments.facts(self.values, "the arguments printed in the log")
        facts = Facts.stated("printed in the log", **self.printed).over(stated)
        if self.loaded and self.resumes[-1] == 0 and self.values.get("finetune") is True:
            facts = facts.over(Facts.stated("printed in the log", initialised_from=self.loaded))
        return facts.over(self._parameters(facts))

    def _parameters(self, facts: Facts) -> Facts:
        """All weights, where one rank holds them all: parts of several ranks overlap."""
        degrees = [self.values.get(f"{kind}_model_parallel_size", 1) for kind in ("tensor", "pipeline")]
        if len(self.weights) != 1 or any(degree != 1 for degree in degrees):
            return Facts()
        count = next(iter(self.weights.values()))
        found: dict[str, object] = {"trainable_parameters": count}
        kind = str(self.values.get("position_embedding_type", self.values.get("pos_emb", ""))).lower()
        positions = self.values.get("max_position_embeddings")
        if kind in ("rope", "rotary", "none", "alibi"):
            found["parameters"] = count
        elif "learned" in kind and isinstance(positions, int) and facts.width is not None:
            found["parameters"] = count - positions * facts.width
        return Facts.stated("printed in the log", **found)

    def resumed(self, run: Run) -> Run:
        """The run with the iterations at which a checkpoint was loaded."""
        return with_loads(run, self.resumes, run.facts.train_loss_window or 1)
