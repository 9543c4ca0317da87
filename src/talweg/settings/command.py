"""The command line that starts a training, in a shell script or in a log: launcher, script, arguments.

torchrun --nproc_per_node=8 train.py config/small.py --batch_size=8 --lr 1e-3 optimizer.name=lion
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from talweg.settings.documents import literal

PROGRAMS = r"(?:python[0-9.]*|torchrun|accelerate|deepspeed|litgpt|fairseq-train|axolotl)\s"
STARTS = re.compile(rf"(?:^|[\s;&|/(]){PROGRAMS}")
PROMPTED = re.compile(
    rf"(?:\S*[$#>%+]\s+|(?:command|cmd)\s*:\s*)?(?:\w+=\S+\s+)*(?:srun\s+(?:-\S+\s+)*|nohup\s+)?(?:\S*/)?{PROGRAMS}",
    re.IGNORECASE,
)
PYTHON = re.compile(r"(?:.*/)?python[0-9.]*$")
VARIABLE = re.compile(
    r"^\s*(?:export\s+|local\s+|readonly\s+)?([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|[^\s;&|`]*)\s*(?:#.*)?$"
)
USED = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::?-([^}]*))?\})")
SETTING = re.compile(r"\+{0,2}([A-Za-z_][\w./-]*)=(.*)$", re.DOTALL)
TRAINS = re.compile(r"train|pretrain|main|run|gpt|finetune|sft|llm|lm|fit", re.IGNORECASE)
LAUNCHER_FLAGS = {"--standalone", "--multi_gpu", "--use_deepspeed", "--use_fsdp", "--no_python", "--run-path"}
LAUNCHERS = ("torchrun", "accelerate", "deepspeed")
DEVICES = ("nproc_per_node", "nproc-per-node", "num_gpus", "num-gpus")
ENTRY_POINTS = ("litgpt", "fairseq-train", "axolotl")  # programs that train without a script of one's own
LONGEST = 20_000  # characters of a command
MOST_LINES = 5_000


@dataclass(frozen=True)
class Command:
    """settings: the arguments by name; the values of flags without one are True."""

    script: str  # train.py, my_package.train, or the program itself
    files: tuple[str, ...] = ()  # arguments without a name, such as config/small.py
    settings: Mapping[str, Any] = field(default_factory=dict)
    ranks: int | None = None  # processes that the launcher starts; None: it does not say


def commands(text: str, prompts: bool = False) -> list[Command]:
    """The commands in a text that start a training.

    prompts: the text is a log, where a command stands behind a prompt ("$ ", "+ ") or begins its line.
    """
    variables: dict[str, str] = {}
    found: list[Command] = []
    for line in _joined(text):
        if assigned := VARIABLE.match(line):
            variables[assigned[1]] = _filled(assigned[2].strip("\"'"), variables)
            continue
        if not STARTS.search(line[:LONGEST]):
            continue
        if prompts and not PROMPTED.match(line):
            continue
        if (command := _command(_filled(line[:LONGEST], variables))) is not None:
            found.append(command)
    return found


def _joined(text: str) -> Iterator[str]:
    """The lines without comments; those that a backslash continues are one."""
    whole = ""
    for number, line in enumerate(text.split("\n")):
        if number > MOST_LINES:
            break
        if line.lstrip().startswith("#"):
            continue
        if line.rstrip().endswith("\\"):
            whole += line.rstrip()[:-1] + " "
            continue
        yield (whole + line).strip()
        whole = ""
    if whole:
        yield whole.strip()


def _filled(text: str, variables: Mapping[str, str]) -> str:
    """The text with the variables that the script sets; one that it does not set stays as it stands."""
    return USED.sub(lambda match: variables.get(match[1] or match[2], match[3] or match[0]), text)


def _command(line: str) -> Command | None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quote that does not end
        return None
    words = _until_the_end(words)
    starts = (at for at, word in enumerate(words) if PYTHON.match(word) or word.rpartition("/")[2] in LAUNCHERS)
    at = next(starts, None)
    if at is None:
        at = next((at for at, word in enumerate(words) if word in ENTRY_POINTS), None)
        if at is None or not TRAINS.search(" ".join(words[at:])):
            return None
        files, settings = _arguments(words[at + 1 :])
        return Command(words[at], files, settings)
    script = _script(words, at + 1)
    if script is None or not TRAINS.search(words[script].rpartition("/")[2]):
        return None
    files, settings = _arguments(words[script + 1 :])
    _, launching = _arguments([word for word in words[at + 1 : script] if word not in LAUNCHER_FLAGS])
    return Command(words[script], files, settings, _ranks(words[at:script], launching))


def _until_the_end(words: list[str]) -> list[str]:
    ends = [at for at, word in enumerate(words) if word in ("|", "||", "&", ">", ">>", "2>&1", "&>") or word[:1] == ">"]
    ends += [at for at, word in enumerate(words) if word in ("&&", ";")]
    for at in sorted(ends):
        if any(STARTS.search(f" {word} ") for word in words[:at]):
            return words[:at]
        if words[at] in ("&&", ";", "||"):
            return _until_the_end(words[at + 1 :])
    return words


def _script(words: list[str], start: int) -> int | None:
    """Where the program stands that the launcher starts: a .py, or a module behind -m."""
    for at in range(start, len(words)):
        if words[at].endswith(".py"):
            return at
        if (
            words[at] in ("-m", "--module")
            and at + 1 < len(words)
            and words[at + 1].rpartition(".")[2] not in ("run", "launch")
        ):
            return at + 1
        if words[at - 1] in ("-m", "--module") and words[at] == "torch.distributed.run":
            continue
    return None


def _arguments(words: list[str]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Words without a name, and --name=value, --name value, --flag and name=value. Of two values the last counts."""
    files: list[str] = []
    settings: dict[str, Any] = {}
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word.startswith("-") and not re.match(r"-[0-9.]", word):
            name, equals, value = word.lstrip("-").partition("=")
            if not equals and at < len(words) and (not words[at].startswith("-") or re.match(r"-[0-9.]", words[at])):
                value, equals = words[at], "="
                at += 1
            if name:
                settings[name] = _value(value) if equals else True
        elif match := SETTING.match(word):
            settings[match[1]] = _value(match[2])
        else:
            files.append(word)
    return tuple(files), settings


def _value(text: str) -> Any:
    return None if "$" in text else literal(text)


def _ranks(launcher: list[str], options: Mapping[str, Any]) -> int | None:
    """Processes in all; None where no launcher starts them, or as many as there are devices."""
    if not any(word.rpartition("/")[2] in LAUNCHERS or "torch.distributed" in word for word in launcher):
        return None
    whole = options.get("num_processes")
    if isinstance(whole, int):
        return whole
    each = next((options[name] for name in DEVICES if name in options), None)
    nodes = next((options[name] for name in ("nnodes", "num_nodes") if name in options), 1)
    if isinstance(each, int) and isinstance(nodes, int) and not isinstance(each, bool):
        return each * nodes
    return None
