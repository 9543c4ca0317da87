"""nanoGPT's standard output, and that of its forks.

    step 500: train loss 5.4354, val loss 5.5328        means over eval_iters random batches, in evaluation mode
    iter 600: loss 5.0956, time 3902.93ms, mfu 12.88%   the last micro-batch of update 600, scaled back to its mean

Iterations as train.py prints them are taken by one regular expression over the whole text; all other lines go through a
slower path that knows launcher prefixes, extra fields of forks and the configuration that train.py echoes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talweg.columns import decimals, standing
from talweg.configs import kind_of, nanogpt, read_facts
from talweg.configs.nanogpt import KEYS, Setting, Settings
from talweg.errors import InputError
from talweg.run import Facts, LossKind, Reading, Run, Series
from talweg.textfile import read_text

NAME = "nanogpt"
CHUNK = 1 << 18  # characters at a time: what the expression returns takes ten times that and should stay in the cache

STOCK = re.compile(
    r"^(?:iter ([0-9]+): loss ([0-9]+\.[0-9]+), time ([0-9]+\.[0-9]+)ms, mfu (-?[0-9]+\.[0-9]+)%|(.+))$", re.MULTILINE
)
NUMBER = r"[-+]?(?:[0-9][0-9,]*(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?|nan|inf(?:inity)?)"
STEP = r"\s+([0-9][0-9,]*)(?:\s*/\s*[0-9,]+)?\s*[:|,]\s*"
END = r"(?=[\s,|;]|$)(.*)$"
ITERATION = re.compile(rf"iter{STEP}(?:train\s+)?loss[\s:=]\s*({NUMBER}){END}", re.IGNORECASE)
EVALUATION = re.compile(
    rf"step{STEP}train\s+loss[\s:=]\s*({NUMBER})\s*[,|;]\s*val(?:idation)?\s+loss[\s:=]\s*({NUMBER}){END}",
    re.IGNORECASE,
)
# what may stand before a line: [rank0]: / (worker pid=7) / 2026-11-23 12:00:00,394 - INFO - / 0: / a progress bar
PREFIX = re.compile(
    r"(?:.*(?:it/s|s/it)[^\]]*\])?"
    r"(?:[\s:|>-]|\[[^\]]*\]|\([^)]*\)|[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}T?|[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?Z?"
    r"|(?:DEBUG|INFO|WARNING|root|stdout|stderr|train(?:\.py)?|__main__|rank ?[0-9]+|[0-9]+)(?=[\s:|\]-]))*+"
)
RANK = re.compile(r"(?:rank|default|worker|local_rank)\W?([0-9]+)|^\s*\[?([0-9]+)\]?\s*:", re.IGNORECASE)
EXTRA = re.compile(rf"([a-z][a-z_ ]*?)\s*[:=]?\s*({NUMBER})\s*(ms|s|%)?(?=[\s,|;]|$)", re.IGNORECASE)
LONGEST_FIELDS = 500  # characters of a line that are searched for fields: longer ones are no log of a trainer
LEARNING_RATE = {"lr", "learning_rate", "learning rate"}
GRAD_NORM = {"grad_norm", "grad norm", "gradnorm", "gnorm", "norm"}
TIME = {"time", "dt"}

ECHO = re.compile(r"^Overriding config with (.+):\s*$")
OVERRIDE = re.compile(r"^Overriding: ([A-Za-z_]\w*) = (.*)$")
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


def sniff(head: str) -> float:
    """How surely this is nanoGPT's output: one line of either kind is unmistakable."""
    return 0.9 if any(_iteration(line) or _evaluation(line) for line in head.split("\n")) else 0.0


def read(text: str, *, source: str = "", config: Path | None = None, loss_column: str | None = None) -> Run:
    """The run that this output tells of; `config` is train.py's configuration file.

    Raises InputError when no loss stands in it.
    """
    if loss_column is not None:
        raise InputError(
            f"--loss-column {loss_column}: {source or 'this log'} is nanoGPT's output, which has no columns"
        )
    log = _Log()
    text, cut = _without_cut_line(text)
    for chunk in _chunks(text):
        log.take(chunk)
    log.close_echo()
    if not log.num_iters and not log.num_evals:
        raise InputError(f"{source or 'this log'}: no line with a loss of nanoGPT was found (iter 10: loss 4.2, ...)")
    facts, notes = _facts(log, config)
    reading = Reading(
        lines=text.count("\n") + (not text.endswith("\n")) + len(cut),
        lines_not_understood=log.num_not_understood + len(cut),
        notes=(*cut, *notes),
    )
    return _run(log, source=source, facts=facts, reading=reading)


def _chunks(text: str) -> Iterator[str]:
    """The text in pieces of about CHUNK characters that end at the end of a line."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + CHUNK) + 1 or len(text)
        yield text[start:end]
        start = end


# ---------------------------------------------------------------- lines


def _core(pattern: re.Pattern[str], line: str) -> re.Match[str] | None:
    """The match of a kind of line, if nothing but a launcher's prefix stands before it."""
    match = pattern.search(line)
    return match if match and PREFIX.fullmatch(line, 0, match.start()) else None


def _iteration(line: str) -> re.Match[str] | None:
    return _core(ITERATION, line) if "iter" in line or "ITER" in line or "Iter" in line else None


def _evaluation(line: str) -> re.Match[str] | None:
    return _core(EVALUATION, line) if "loss" in line and "val" in line else None


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _ending(line: str) -> tuple[int, str] | None:
    """Digits after the last decimal point, and what follows them: equal for all complete lines of a kind."""
    match = re.search(r"\.([0-9]+)([^0-9.]*)$", line.rstrip())
    return (len(match[1]), match[2]) if match else None


def _without_cut_line(text: str) -> tuple[str, tuple[str, ...]]:
    """A last line without its newline may end in the middle of a number: kept only if it ends as those before it do."""
    if text.endswith("\n"):
        return text, ()
    body, _, last = text.rpartition("\n")
    kind = next((kind for kind in (_iteration, _evaluation) if kind(last)), None)
    if kind is None and not re.match(r"(?:iter|step) +[0-9]", last):
        return text, ()
    if kind is not None:
        if re.search(r"\b(?:nan|inf)$", last):
            return text, ()
        before = next((line for line in reversed(body[-(1 << 16) :].split("\n")[1:]) if kind(line)), None)
        complete = _ending(before) if before else (2, "%") if kind is _iteration else (4, "")
        if _ending(last) == complete:
            return text, ()
    return body + "\n", ("the last line is cut off in the middle and was left out",)


@dataclass
class _Log:
    """What the lines said. Rows keep the order of the log; a place is the index of a row among those of its kind."""

    iters: list[NDArray[np.float64]] = field(
        default_factory=list
    )  # each (n, 4): step, loss, milliseconds, mfu in percent
    evals: list[NDArray[np.float64]] = field(default_factory=list)  # each (n, 3): step, train, val
    ranks: dict[str, dict[int, int]] = field(default_factory=lambda: {"iters": {}, "evals": {}})  # by place
    extras: dict[str, list[tuple[int, str]]] = field(default_factory=dict)  # by column: place in iters, number
    decimals: dict[str, int] = field(default_factory=dict)
    num_iters: int = 0
    num_evals: int = 0
    settings: dict[str, Setting] = field(default_factory=dict)
    printed: dict[str, float] = field(default_factory=dict)  # sizes that train.py printed itself
    trainable: dict[str, float] = field(default_factory=dict)  # weights that the optimizer holds, by its group
    resumes: list[int] = field(default_factory=list)  # places in iters that follow the taking up of a checkpoint
    echo: list[str] | None = None  # lines of the configuration file being echoed
    echo_name: str = ""
    losses_since_settings: bool = False
    num_starts: int = 0  # how often a configuration was echoed anew after losses
    num_not_understood: int = 0

    def take(self, chunk: str) -> None:
        """Read one piece of the log, which ends at the end of a line."""
        iters: list[tuple[str, ...]] = []
        evals: list[tuple[str, ...]] = []
        rows = STOCK.findall(chunk)
        start = 0
        for index in [index for index, line in enumerate(map(itemgetter(4), rows)) if line]:
            iters += rows[start:index]
            start, line = index + 1, rows[index][4]
            if match := _evaluation(line):
                self._see_rank("evals", match, self.num_evals + len(evals))
                evals.append(tuple(text.replace(",", "") for text in match.groups()[:3]))
            elif match := _iteration(line):
                iters.append(self._odd_iteration(match, self.num_iters + len(iters)))
            else:
                self.losses_since_settings |= bool(iters or evals)
                self._other(line, self.num_iters + len(iters))
        iters += rows[start:]
        self.losses_since_settings |= bool(iters or evals)
        self.num_iters += len(iters)
        self.num_evals += len(evals)
        self.iters.append(self._numbers(iters, ("step", "loss", "seconds", "mfu")))
        self.evals.append(self._numbers(evals, ("step", "train", "val")))

    def _numbers(self, rows: list[tuple[str, ...]], names: tuple[str, ...]) -> NDArray[np.float64]:
        table = np.empty((len(rows), len(names)))
        for column, (name, texts) in enumerate(zip(names, zip(*rows, strict=False), strict=False)):
            table[:, column] = np.fromiter(map(float, texts), np.float64, len(texts))
            # the first hundred tell how a program prints; a whole column would cost as much as reading it
            self.decimals[name] = max(self.decimals.get(name, 0), decimals(texts[:100]))
        return table

    def _see_rank(self, kind: str, match: re.Match[str], place: int) -> None:
        if match.start() and (label := RANK.search(match.string, 0, match.start())):
            self.ranks[kind][place] = int(label[1] or label[2])

    def _odd_iteration(self, match: re.Match[str], place: int) -> tuple[str, str, str, str]:
        """An iteration that is not printed as train.py does: with a prefix, without its time, with other fields."""
        self._see_rank("iters", match, place)
        milliseconds, mfu = "nan", "nan"
        for name, number, unit in EXTRA.findall(match[3][:LONGEST_FIELDS]):
            number = number.replace(",", "")
            if name.lower() in TIME and unit in ("ms", "s"):
                milliseconds = number if unit == "ms" else str(float(number) * 1000)
            elif name.lower() == "mfu" and unit == "%":
                mfu = number
            elif name.lower() in LEARNING_RATE:
                self.extras.setdefault("learning_rate", []).append((place, number))
            elif name.lower() in GRAD_NORM:
                self.extras.setdefault("grad_norm", []).append((place, number))
        return match[1].replace(",", ""), match[2].replace(",", ""), milliseconds, mfu

    def _other(self, line: str, place: int) -> None:
        """A line without a loss: configuration, or nothing to us."""
        if header := ECHO.match(line):
            self._new_settings()
            self.echo, self.echo_name = [], Path(header[1]).name
        elif override := OVERRIDE.match(line):
            self._new_settings()
            self._set(override[1], nanogpt.literal(override[2]), "the command line echoed in the log")
        elif (sizes := TOKENS.match(line)) and (tokens := _number(sizes[1])):
            self._new_settings()
            self.printed["tokens_per_step"] = tokens
        elif sizes := PARAMETERS.match(line):
            self.close_echo()
            self.printed["parameters"] = _number(sizes[1]) * 1e6
        elif sizes := VOCABULARY.match(line):
            self.close_echo()
            self._set("vocab_size", int(sizes[1]), "printed in the log")
        elif start := START.match(line):
            self._new_settings()
            self._set("init_from", start[1] or "resume", "printed in the log")
            self.resumes += [] if start[1] else [place]
        elif tensors := TRAINABLE.match(line):
            self.close_echo()
            self.trainable[tensors[1]] = _number(tensors[2])
        elif CHATTER.match(line):
            self.close_echo()
        elif self.echo is not None and not self.losses_since_settings:
            self.echo.append(line)
        else:
            self.num_not_understood += 1

    def _new_settings(self) -> None:
        """Settings begin here; those before them are of an earlier start if losses came in between."""
        self.close_echo()
        if self.losses_since_settings:
            self.settings, self.printed, self.losses_since_settings = {}, {}, False
            self.num_starts += 1

    def _set(self, key: str, value: object, source: str) -> None:
        if key in KEYS:
            self.settings[key] = Setting(value, source)

    def close_echo(self) -> None:
        """The echo of a configuration file has ended: read it."""
        if self.echo is not None:
            assigned, _ = nanogpt.assignments("\n".join(self.echo))
            for key, value in assigned.items():
                self._set(key, value, f"{self.echo_name}, echoed in the log")
        self.echo = None


# ---------------------------------------------------------------- the run


def _table(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(parts) if parts else np.empty((0, 4))


def _one_rank(table: NDArray[np.float64], ranks: dict[int, int]) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """The rows of the lowest rank, where several ranks printed the same steps; otherwise all rows."""
    keep = np.ones(len(table), dtype=np.bool_)
    labels = np.full(len(table), -1)
    labels[list(ranks)] = list(ranks.values())
    present = np.unique(labels)
    if present.size < 2:
        return keep, ()
    mine = labels == present[0]
    num_steps, num_mine = np.unique(table[:, 0]).size, np.unique(table[mine, 0]).size
    if len(table) < 1.5 * num_steps or num_mine < 0.5 * num_steps:
        return keep, ()  # the numbers before the lines are no ranks (grep -n puts some there): they share no steps
    return mine, (f"{present.size} processes print their losses; those of the first were taken",)


def _run(log: _Log, *, source: str, facts: Facts, reading: Reading) -> Run:
    iters, evals = _table(log.iters), _table(log.evals)
    notes: tuple[str, ...] = ()
    kept = []
    resumed = {float(iters[place, 0]) for place in log.resumes if place < len(iters)}
    for name, table, ranks in (("train loss", iters, log.ranks["iters"]), ("evaluations", evals, log.ranks["evals"])):
        mine, told = _one_rank(table, ranks)
        notes += told
        in_force = standing(table[mine, 0], table[mine, 1])
        notes += in_force.notes(name)
        resumed |= set(in_force.went_back_to)
        kept.append(np.flatnonzero(mine)[in_force.keep])
    places = kept[0]
    extras = {name: _extra(log, name, iters, places) for name in log.extras}
    iters, evals = iters[kept[0]], evals[kept[1]]
    timed = iters[np.isfinite(iters[:, 2])]
    used = iters[iters[:, 3] >= 0]  # train.py prints -100 % until it has one

    def series(table: NDArray[np.float64], column: int, name: str, kind: LossKind, digits: str) -> Series:
        resolution = 10.0 ** -log.decimals.get(digits, 0) if len(table) else 0.0
        return Series.of(table[:, 0], table[:, column], kind=kind, resolution=resolution, name=name)

    return Run(
        source=source,
        format=NAME,
        train_loss=series(iters, 1, "iter loss", "micro_batch", "loss"),
        train_eval_loss=series(evals, 1, "step train loss", "evaluation", "train"),
        val_loss=series(evals, 2, "step val loss", "evaluation", "val"),
        seconds_per_step=Series.of(timed[:, 0], timed[:, 2] / 1000, name="iter time"),
        mfu=Series.of(used[:, 0], used[:, 3] / 100, kind="running_mean", resolution=1e-4, name="iter mfu"),
        facts=Facts.stated("the log", resumed_at=tuple(sorted(resumed - {0.0})) or None).over(facts),
        reading=replace(reading, notes=(*reading.notes, *notes)),
        **extras,
    )


def _extra(log: _Log, name: str, iters: NDArray[np.float64], places: NDArray[np.intp]) -> Series:
    at = np.array([place for place, _ in log.extras[name]])
    texts = [text for _, text in log.extras[name]]
    wanted = np.isin(at, places)
    values = np.array([float(text) for text in texts])
    return Series.of(iters[at[wanted], 0], values[wanted], resolution=10.0 ** -decimals(texts), name=name)


def _facts(log: _Log, config: Path | None) -> tuple[Facts, tuple[str, ...]]:
    """The configuration echoed in the log under that of `config`, over train.py's defaults.

    Without any configuration nothing is assumed: what the log prints itself is all that is known.
    """
    trainable = sum(log.trainable.values()) if len(log.trainable) == 2 else None
    printed = Facts.stated("printed in the log", **log.printed, trainable_parameters=trainable)
    notes: tuple[str, ...] = ()
    if log.num_starts:
        notes = (f"the log holds {log.num_starts + 1} starts; the configuration of the last one was taken",)
    given: Settings = {}
    others = Facts()
    if config is not None:
        if kind_of(config) is nanogpt:
            given = nanogpt.settings(config)
            notes += _left_aside(config, given)
        else:
            others = read_facts(config)
            given = nanogpt.settings_of(others)
    stated = nanogpt.over(given, log.settings)
    if not stated:
        return nanogpt.facts({}, printed), notes
    facts = nanogpt.facts(nanogpt.over(stated, nanogpt.defaults(stated)), printed)
    facts = replace(facts, conflicts={**facts.conflicts, **nanogpt.conflicts(given, log.settings)})
    return others.over(facts), notes


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
