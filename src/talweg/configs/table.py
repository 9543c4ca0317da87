"""A flat or nested list of settings in many trainers' spellings: JSON, YAML, TOML, lines of `key = value`, a Namespace.

W&B's config.yaml, Lightning's hparams.yaml, axolotl's YAML and the arguments that argparse prints are such lists.
"""

from pathlib import Path

from talweg.errors import InputError
from talweg.run import Facts
from talweg.settings.documents import Document, Settings, head_of, nested
from talweg.settings.spellings import KNOWN, facts
from talweg.textfile import HEAD, read_text

NAME = "table"
TAKES_KNOWN = True


def sniff(path: Path, head: str) -> float:
    """The share of its names that are known spellings; a few of them make a configuration, one does not."""
    names = list(Settings.of(nested(head_of(head, HEAD))).entries)
    known = sum(name in KNOWN for name in names)
    return 0.0 if known < 2 else 0.3 + 0.6 * known / len(names)


def read(path: Path, known: Facts | None = None) -> Facts:
    """What the file states in spellings that are known. Raises InputError when there is none."""
    found = facts(Settings.of(nested(read_text(path).text)), Path(path).name, known or Facts())
    if not found.sources:
        raise InputError(
            f"{path} states no setting in a spelling that is known (n_layer, learning_rate, max_steps, ...)"
        )
    return found


def facts_of(settings: Document, source: str) -> Facts:
    """What nested settings state that are no file of their own."""
    return facts(Settings.of(settings), source, Facts())
