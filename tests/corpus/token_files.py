"""Token files as others write them, from a made-up language in which a document stays with its matter."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from talweg.corpus import tokenizer
from talweg.corpus.tokenizer import Tokenizer

SYLLABLES = [a + b for a in ("b", "k", "m", "t", "r", "s", "v", "l") for b in ("a", "o", "i", "u", "en")]


def documents(num: int, *, seed: int = 0, words: int = 160) -> list[str]:
    """Lines of nine words: half of them usual ones, half from the few that the document is about."""
    rng = np.random.default_rng(seed)
    usual = ["".join(rng.choice(SYLLABLES, 2)) for _ in range(60)]
    share = 1 / np.arange(1, 61)
    out = []
    for _ in range(num):
        matter = ["".join(rng.choice(SYLLABLES, 3)) for _ in range(12)]
        drawn = np.where(
            rng.random(words) < 0.5, rng.choice(usual, words, p=share / share.sum()), rng.choice(matter, words)
        )
        lines = [" ".join(drawn[i : i + 9]) + ".\n" for i in range(0, words, 9)]
        out.append("".join(line + ("\n" if i % 5 == 4 else "") for i, line in enumerate(lines)))
    return out


def trained(texts: Sequence[str], size: int, folder: Path) -> Tokenizer:
    """A tokenizer of these texts, saved as folder/tokenizer.json."""
    made = tokenizer.trained(texts, size)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(folder)
    return made


def ids(made: Tokenizer, texts: Sequence[str], *, separated: bool = True) -> np.ndarray:
    """As nanoGPT's prepare.py strings them together: each text, then the separator."""
    parts = []
    for tokens in made.encode_batch(texts):
        parts.append(tokens.astype(np.int64))
        if separated:
            parts.append(np.array([made.separator_id]))
    return np.concatenate(parts)


def write(folder: Path, train: np.ndarray, val: np.ndarray, dtype: str = "<u2") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    train.astype(dtype).tofile(folder / "train.bin")
    val.astype(dtype).tofile(folder / "val.bin")
    return folder
