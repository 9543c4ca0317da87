"""How numbers are written about a corpus: three digits for what is counted, shares never rounded to none or to all."""

import math
import unicodedata

DECIMAL = ((1e12, "T"), (1e9, "B"), (1e6, "M"))
BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def count(value: float) -> str:
    """ "27.2 M"; below a million in full, "524,288"."""
    return _scaled(value, DECIMAL) or f"{value:,.0f}"


def size(num_bytes: float) -> str:
    """ "120 MB"; a megabyte is 10^6 bytes."""
    return _scaled(num_bytes, BYTES) or f"{num_bytes:,.0f} bytes"


def _scaled(value: float, scales: tuple[tuple[float, str], ...]) -> str:
    for scale, unit in scales:
        if value >= scale * 0.9995:
            digits = max(0, 2 - math.floor(math.log10(value / scale * 1.0005)))
            return f"{value / scale:,.{digits}f} {unit}"
    return ""


def percent(part: float, whole: float) -> str:
    """One decimal; "under 0.1 %" and "over 99.9 %" for what is neither none nor all; "-" of nothing."""
    if whole <= 0:
        return "-"
    share = part / whole
    if part == 0:
        return "0"
    if share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %" if share < 1 else "100 %"


def short(value: float) -> str:
    """A tick or a quantile: "1k", "16k", "0.05"."""
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.3g}{unit}"
    return f"{value:.3g}" if value >= 0.0001 or value == 0 else f"{value:.0e}".replace("e-0", "e-")


def plain(text: str) -> str:
    """One line of printable text: nothing from a file can colour, move or break what is shown."""
    spaced = " ".join(text.split())
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") else c for c in spaced)
