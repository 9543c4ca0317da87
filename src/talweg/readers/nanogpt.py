"""nanoGPT's standard output, and that of its forks.

    step 500: train loss 5.4354, val loss 5.5328        means over eval_iters random batches, in evaluation mode
    iter 600: loss 5.0956, time 3902.93ms, mfu 12.88%   the last micro-batch of update 600, scaled back to its mean

Forks add fields (lr 3.0e-4, norm 0.91), launchers a prefix; the configuration is what train.py echoes.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from pathlib import Path

from talweg.configs import beside, kind_of, nanogpt, read_facts
from talweg.configs.nanogpt import KEYS, Setting, Settings
from talweg.errors import InputError
from talweg.logs.assemble import Column, assemble
from talweg.logs.given import Asked, Head, Log
from talweg.logs.lines import Lines, Points
from talweg.logs.named import USUAL, Names, take_named
from talweg.logs.prefix import core, rank_in, without_prefix
from talweg.logs.recipes import NUMBER, Fields, Span
from talweg.run import Facts, LossKind, Run
from talweg.textfile import read_text

NAME = "nanogpt"
TAKES_CONFIG = True  # a configuration is completed by train.py's defaults, under what the log echoes

STEP = r"\s+(?P<step>[0-9][0-9,]*)(?:\s*/\s*[0-9,]+)?\s*[:|,]\s*"
END = r"(?=[\s,|;]|$)(?P<rest>.*)$"
ITERATION = re.compile(rf"iter{STEP}(?:train\s+)?loss[\s:=]\s*(?P<loss>{NUMBER}){END}", re.IGNORECASE)
EVALUATION = re.compile(
    rf"step{STEP}train\s+loss[\s:=]\s*(?P<train>{NUMBER})\s*[,|;]\s*val(?:idation)?\s+loss[\s:=]\s*(?P<val>{NUMBER}){END}",
    re.IGNORECASE,
)
RATES: Names = {key: known for key, known in USUAL.items() if known[0] == "learning_rate"}  # of an evaluation's line
# column of Run <- field, its name in the log, kind
COLUMNS: tuple[tuple[str, str, str, LossKind], ...] = (
    ("train_loss", "loss", "iter loss", "micro_batch"),
    ("train_eval_loss", "train", "step train loss", "evaluation"),
    ("val_loss", "val", "step val loss", "evaluation"),
    ("seconds_per_step", "seconds_per_step", "iter time", "unknown"),
    ("mfu", "mfu", "iter mfu", "running_mean"),
    ("learning_rate", "learning_rate", "learning_rate", "unknown"),
    ("grad_norm", "grad_norm", "grad_norm", "unknown"),
    ("tokens_per_second", "tokens_per_second", "tokens_per_second", "unknown"),
)

ANOTHER = re.compile(r"(?:iter|step)\s+[0-9][0-9,]*(?:\s*/\s*[0-9,]+)?\s*[:|,]\s*(?:train\s+)?loss", re.IGNORECASE)
ECHO = re.compile(r"^Overriding config with (.+):\s*$")
OVERRIDE = re.compile(r"^Overriding: ([A-Za-z_]\w*) = (.*)$")
COMMAND = re.compile(r"^(?:\S*[$#>%+]\s+)?(?:\w+=\S+\s+)*(?:python[0-9.]*|torchrun)\s.*\btrain\w*\.py\b(.*)$")
TOKENS = re.compile(r"^tokens per iteration will be: ([0-9,]+)\s*$")
PARAMETERS = re.compile(r"^number of parameters: ([0-9.,]+)M\s*$")
VOCABULARY = re.compile(r"^(?:found vocab_size = |defaulting to vocab_size of GPT-2 to )([0-9]+)")
TRAINABLE = re.compile(r"^num (decayed|non-decayed) parameter tensors: [0-9,]+, with ([0-9,]+) parameters")
START = re.compile(r"^(?:Initializing from OpenAI GPT-2 weights: (gpt2\S*)|Resuming training from )")
CHATTER = re.compile(
    r"^(?:saving checkpoint to|Initializing a new model|using fused AdamW|"
    r"compiling the model|loading weights from|forcing vocab_size|overriding (?:dropout|vocab|block)|wandb: |"
    r"WARNING: using slow attention|No meta\.pkl)"
)
SAVES = "saving checkpoint to "


def sniff(head: Head) -> float:
    """How surely this is nanoGPT's output: one line of either kind is unmistakable."""
    return 0.9 if any(parse(line) for line in head.text.split("\n")) and not head.is_source else 0.0


def read(log: Log, asked: Asked) -> Run:
    """The run that this output tells of; `asked.config` is train.py's configuration file.

    Raises InputError when no loss stands in it.
    """
    source = log.source or "this log"
    if asked.columns:
        raise InputError(f"{source} is nanoGPT's output, which has no columns to name; leave --loss-column out")
    settings = _Settings()
    lines = Lines(parse, settings.take, _is_complete).read(log.chunks())
    points = lines.points()
    if "loss" not in points and "train" not in points:
        raise InputError(f"{source}: no line with a loss of nanoGPT was found (iter 10: loss 4.2, ...)")
    if "mfu" in points:
        points["mfu"] = _known(points["mfu"])
    settings.close(points)
    columns = [Column.of(name, points[key], role, kind) for role, key, name, kind in COLUMNS if key in points]
    columns += [Column.of(name, points[name]) for name in sorted(set(points) - {key for _, key, _, _ in COLUMNS})]
    last = max(float(points[key].step.max()) for key in ("loss", "train") if key in points)
    facts, notes, used = _facts(settings, asked, last)
    told = lines.reading()
    reading = replace(told, notes=(*told.notes, *notes), configurations=tuple(map(str, used)))
    if resumed := settings.resumed(points.get("loss")):
        facts = Facts.stated("the log tells of a checkpoint", resumed_at=resumed).over(facts)
    return assemble(columns, source=log.source, format=NAME, facts=facts, reading=reading)


def parse(line: str) -> Fields | None:
    """Where the numbers of an iteration or an evaluation stand in its line."""
    if "loss" not in line and "LOSS" not in line and "Loss" not in line:
        return None
    match = core(ITERATION, line)
    keys = ("step", "loss") if match else ("step", "train", "val")
    match = match or core(EVALUATION, line)
    if match is None:
        return None
    fields = {key: Span(*match.span(key)) for key in keys}
    if (rank := rank_in(match)) is not None:
        fields["rank"] = Span(*rank)
    take_named(fields, _alone(line), match.start("rest"), USUAL if "loss" in fields else RATES, strict=True)
    return fields


def _alone(line: str) -> str:
    """A line without what another process wrote behind it, its line end being lost."""
    starts = [found.start() for found in ANOTHER.finditer(line)]
    return line if len(starts) < 2 else line[: starts[1]]


def _is_complete(line: str) -> bool:
    """Whether a last line without its end is whole, where none like it came before: it ends as train.py ends it."""
    return re.search(r"\.[0-9]{2}%$|val loss [0-9]+\.[0-9]{4}$", line.rstrip()) is not None


def _known(mfu: Points) -> Points:
    """train.py prints -100 % until it has a figure."""
    keep = mfu.value >= 0
    rank = None if mfu.rank is None else mfu.rank[keep]
    return replace(mfu, line=mfu.line[keep], step=mfu.step[keep], value=mfu.value[keep], rank=rank)


# ---------------------------------------------------------------- what train.py echoes


@dataclass
class _Settings:
    """The configuration that the lines without a loss tell, in the order of the log."""

    values: dict[str, Setting] = field(default_factory=dict)
    printed: dict[str, float] = field(default_factory=dict)  # sizes that train.py printed itself
    trainable: dict[str, float] = field(default_factory=dict)  # weights that the optimizer holds, by its group
    resumes: list[int] = field(default_factory=list)  # lines that tell of a checkpoint taken up
    echo: list[str] | None = None  # lines of the configuration file being echoed
    echo_name: str = ""
    echoes: bool = False  # it tells what differs from train.py, so that nothing else does
    out_dir: str = ""  # where it saves its checkpoints
    num_starts: int = 0  # how often a configuration was echoed anew after losses
    losses_before: int = 0  # lines with a loss above those settings

    def take(self, line: str, number: int, num_losses: int) -> bool:
        """A line without a loss: configuration, or nothing to us."""
        line = without_prefix(line)
        if self.echo is not None and num_losses > self.losses_before:
            self._close_echo()
        if header := ECHO.match(line):
            self._begin(num_losses)
            self.echo, self.echo_name, self.echoes = [], Path(header[1]).name, True
        elif override := OVERRIDE.match(line):
            self._begin(num_losses)
            self.echoes = True
            self._set(override[1], nanogpt.literal(override[2]), "the command line echoed in the log")
        elif command := COMMAND.match(line):
            self._begin(num_losses)
            for key, text in nanogpt.ARGUMENT.findall(command[1]):
                self._set(key, nanogpt.literal(text), "the command line in the log")
        elif sizes := TOKENS.match(line):
            self._begin(num_losses)
            self.printed["tokens_per_step"] = _number(sizes[1])
        elif sizes := PARAMETERS.match(line):
            self._close_echo()
            self.printed["parameters"] = _number(sizes[1]) * 1e6
        elif sizes := VOCABULARY.match(line):
            self._close_echo()
            self._set("vocab_size", int(sizes[1]), "printed in the log")
        elif start := START.match(line):
            self._begin(num_losses)
            self._set("init_from", start[1] or "resume", "printed in the log")
            self.resumes += [] if start[1] else [number]
        elif tensors := TRAINABLE.match(line):
            self._close_echo()
            self.trainable[tensors[1]] = _number(tensors[2])
        elif CHATTER.match(line):
            self._close_echo()
            if line.startswith(SAVES):
                self.out_dir = line.removeprefix(SAVES).strip()
        elif self.echo is not None:
            self.echo.append(line)
        else:
            return False
        return True

    def close(self, points: dict[str, Points]) -> None:
        """The log has ended."""
        self._close_echo()

    def resumed(self, losses: Points | None) -> tuple[float, ...]:
        """The steps of the first iteration after each checkpoint that was taken up."""
        if losses is None:
            return ()
        places = [bisect_right(losses.line.tolist(), number) for number in self.resumes] if self.resumes else []
        steps = {float(losses.step[place]) for place in places if place < len(losses)}
        return tuple(sorted(steps - {0.0}))

    def _begin(self, num_losses: int) -> None:
        """Settings begin here; those before them are of an earlier start if losses came in between."""
        self._close_echo()
        if num_losses > self.losses_before:
            self.num_starts += bool(self.values or self.printed)
            self.values, self.printed = {}, {}
        self.losses_before = num_losses

    def _set(self, key: str, value: object, source: str) -> None:
        if key in KEYS:
            self.values[key] = Setting(value, source)

    def _close_echo(self) -> None:
        """The echo of a configuration file has ended: read it."""
        if self.echo is not None:
            assigned, _ = nanogpt.assignments("\n".join(self.echo))
            for key, value in assigned.items():
                self._set(key, value, f"{self.echo_name}, echoed in the log")
        self.echo = None


def _number(text: str) -> float:
    return float(text.replace(",", ""))


# ---------------------------------------------------------------- the run


def _facts(log: _Settings, asked: Asked, last_step: float) -> tuple[Facts, tuple[str, ...], tuple[Path, ...]]:
    """The configuration given, over that echoed in the log, over that beside it, over train.py's defaults.

    Without any configuration nothing is assumed: what the log prints itself is all that is known. Returns the facts,
    notes, and the files beside the log that were used.
    """
    trainable = sum(log.trainable.values()) if len(log.trainable) == 2 else None
    printed = Facts.stated("printed in the log", **log.printed, trainable_parameters=trainable)
    notes: tuple[str, ...] = ()
    if log.num_starts:
        notes = (f"the log holds {log.num_starts + 1} starts; the configuration of the last one was taken",)
    given: Settings = {}
    others = Facts()
    if asked.config is not None:
        if kind_of(asked.config) is nanogpt:
            given = nanogpt.settings(asked.config)
            notes += _left_aside(asked.config, given)
        else:
            others = read_facts(asked.config)
            given = nanogpt.settings_of(others)
    stated = nanogpt.over(given, log.values)
    found = _beside(log, asked, printed.over(nanogpt.facts(given)), last_step)
    notes += found.notes
    layers = [_settings(path) for path in found.files]
    # train.py says what holds where nothing else is said, if anything is known to have been said, or nothing
    if not stated and not log.printed and all(beside.role(path) == "defaults" for path in found.files):
        layers, found = [], beside.Chosen(notes=found.notes)
    stated = nanogpt.over(stated, *layers)
    if not stated:
        return nanogpt.facts({}, printed), notes, ()
    facts = nanogpt.facts(nanogpt.over(stated, nanogpt.defaults(stated)), printed)
    facts = replace(facts, conflicts={**facts.conflicts, **nanogpt.conflicts(given, log.values)})
    more = {name: getattr(found.facts, name) for name in found.facts.sources if getattr(facts, name) is None}
    facts = facts.over(Facts(**more, sources={name: found.facts.sources[name] for name in more}))
    return others.over(facts), notes, found.files


def _beside(log: _Settings, asked: Asked, known: Facts, last_step: float) -> beside.Chosen:
    """The files beside the log that are its configuration. A log that echoes one states all that differs from train.py.

    The folder that the log saves to tells configurations apart.
    """

    def objection(path: Path) -> str | None:
        saves = _settings(path).get("out_dir")
        if saves is None or not log.out_dir or beside.role(path) != "config":
            return None
        differs = Path(str(saves.value)).name != Path(log.out_dir).name
        return f"it saves to {saves.value}, the log to {log.out_dir}" if differs else None

    roles = ("defaults",) if log.echoes else beside.ROLES
    return beside.choose(asked.beside, known, last_step=last_step, roles=roles, objection=objection)


def _settings(path: Path) -> dict[str, Setting]:
    """A configuration beside the log as settings of train.py."""
    if kind_of(path) is nanogpt:
        return {key: setting for key, setting in nanogpt.settings(path).items() if key in {*KEYS, "out_dir"}}
    return nanogpt.settings_of(read_facts(path))


def _left_aside(config: Path, given: Settings) -> tuple[str, ...]:
    """What stands in the configuration file and was not used."""
    unknown = sorted(set(given) - KEYS)
    _, ignored = nanogpt.assignments(read_text(config).text)
    lines = [line for line in ignored if line and not line.startswith(("#", "import ", "from "))]
    notes: tuple[str, ...] = ()
    for what, found in (("not settings of nanoGPT's train.py", unknown), ("not plain assignments", lines)):
        if found:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            notes += (f"{config.name}: {what}, left aside: {', '.join(found[:5])}{more}",)
    return notes
