"""How numbers and names are written: the same in every form of the report.

Losses carry three decimals, because the noise of a good evaluation is a few thousandths of a nat. Counts carry three
digits. Every text that came from a file is passed through `plain` first.
"""

import math
import unicodedata

from talweg.estimate import Estimate

NOT_KNOWN = "not known"
SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"))
FORMAT_NAMES = {  # of each reader, as people write it
    "fairseq": "fairseq",
    "hugging_face": "Hugging Face Trainer",
    "keras": "Keras",
    "litgpt": "LitGPT",
    "llmc": "llm.c",
    "megatron": "Megatron-LM",
    "mlflow": "MLflow",
    "modded_nanogpt": "modded-nanogpt",
    "nanochat": "nanochat",
    "nanogpt": "nanoGPT",
    "nanotron": "nanotron",
    "neptune": "Neptune",
    "step_lines": "lines with a step and a loss",
    "table": "table",
    "talweg": "Talweg",
    "tensorboard": "TensorBoard",
    "torchtitan": "torchtitan",
    "trackio": "Trackio",
    "wandb": "W&B",
    "wandb_api": "W&B's server",
}


def nats(value: float) -> str:
    """A loss or a cost: "3.574". Minus zero is written as zero."""
    text = f"{value:.3f}"
    return "0.000" if text == "-0.000" else text


def interval(estimate: Estimate) -> str:
    """The 80 % interval: "3.451–3.711", or "-0.014 to -0.010" where a dash would be read as a minus."""
    low, high = nats(estimate.low), nats(estimate.high)
    return f"{low} to {high}" if low.startswith("-") else f"{low}–{high}"


def with_interval(estimate: Estimate) -> str:
    """ "3.574 ±0.006" where the interval is even to the digit shown, else "3.574 (3.560–3.620)"."""
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    if abs(below - above) < 0.0005:
        return f"{nats(estimate.value)} ±{nats(max(below, above))}"
    return f"{nats(estimate.value)} ({interval(estimate)})"


def whole(value: float) -> str:
    """A step or another whole number: "14,500"."""
    return f"{value:,.0f}"


def count(value: float) -> str:
    """Parameters or tokens: "40.6 M", "7.60 B"; below a million in full, "524,288"."""
    for scale, letter in SCALES:
        if value >= scale * 0.9995:
            digits = max(0, 2 - math.floor(math.log10(value / scale * 1.0005)))
            return f"{value / scale:,.{digits}f} {letter}"
    return whole(value)


def tokens(value: float) -> str:
    return f"{count(value)} tokens"


def percent(share: float) -> str:
    """A probability in whole percent; never 0 % or 100 % for something that can be otherwise."""
    if 0 < share < 0.005:
        return "under 1 %"
    if 0.995 < share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %"


def fact(value: object) -> str:
    """A configuration value as a person would write it: 1e-4 -> "0.0001", 40560000.0 -> "40,560,000"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return plain(str(value))
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e18 else f"{value:.6g}"
    return plain(str(value))


def plain(text: str) -> str:
    """One line of printable text: what a log or a path says can neither colour, move nor break the page.

    Control and format characters (escape sequences, line breaks, reversed writing), and bytes of a path that
    are no text, become a replacement character; runs of white space become one blank.
    """
    shown = "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") else c for c in spaced(text))
    return " ".join(shown.split())


def spaced(text: str) -> str:
    return "".join(" " if c.isspace() else c for c in text)


def shortened(text: str, length: int) -> str:
    """At most `length` characters, cut at a word where one ends late enough, with an ellipsis."""
    if len(text) <= length:
        return text
    cut = text[: max(length - 1, 0)]
    at_word = cut if text[len(cut)] == " " else cut.rsplit(" ", 1)[0]
    kept = at_word if len(at_word) > 0.7 * length else cut
    return kept.rstrip(" ,;:.") + "…"


def origin(source: str) -> str:
    """Where a run was read from."""
    return "standard input" if source in ("", "-") else plain(source)


def written_by(format: str) -> str:
    """The program that wrote a log, as people write its name."""
    return FORMAT_NAMES.get(format, plain(format))
