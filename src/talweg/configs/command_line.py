"""The command that started a training, in a shell script (run.sh, an sbatch file) or a text that holds it.

Arguments are `--name=value`, `--name value` and `name=value`; the launcher's (torchrun, accelerate, deepspeed) tell how
many processes train. A script that starts several trainings with different settings says nothing about those.
"""

import re
from pathlib import Path
from typing import Any

from talweg.errors import InputError
from talweg.run import Facts
from talweg.settings.command import STARTS, Command, commands
from talweg.settings.documents import Settings
from talweg.settings.spellings import facts as spelled
from talweg.textfile import read_text

NAME = "command_line"
TAKES_KNOWN = True


def sniff(path: Path, head: str) -> float:
    """nanoGPT's own arguments are better read as those of nanoGPT, which is surer of them."""
    if not STARTS.search(head) or re.match(r"\s*(?:import |from |\"\"\"|\{)", head):
        return 0.0
    return 0.7 if commands(head) else 0.0


def read(path: Path, known: Facts | None = None) -> Facts:
    """Raises InputError when the file starts no training."""
    found = commands(read_text(path).text)
    if not found:
        raise InputError(f"{path} holds no command that starts a training (python train.py --batch_size=8)")
    return facts(found, Path(path).name, known or Facts())


def facts(found: list[Command], source: str, known: Facts) -> Facts:
    """What all of these commands state alike."""
    arguments = dict(found[0].settings)
    for command in found[1:]:
        arguments = {
            name: value
            for name, value in arguments.items()
            if name in command.settings and command.settings[name] == value
        }
    settings: dict[str, Any] = {name.lstrip("-"): value for name, value in arguments.items()}
    ranks = {command.ranks for command in found}
    if len(ranks) == 1 and None not in ranks:
        settings.setdefault("world_size", ranks.pop())
    return spelled(Settings.of(settings), source, known)
