"""What must be said to numpy before it is imported, on processors that it does not know well."""

import os
from collections.abc import MutableMapping
from importlib.metadata import version
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def avoid_slow_sorts(environment: MutableMapping[str, str] = os.environ, cpuinfo: Path = CPUINFO) -> None:
    """Have numpy sort with AVX2 where AVX-512 is slower: AMD's Zen 4, whose compressing stores are microcode.

    Measured on one: a million 32-bit numbers in 5 ms instead of 31, 64-bit in 11 instead of 50. Must be called before
    numpy is imported; processes started later have it from the environment.
    """
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace").partition("\n\n")[0]
    except OSError:  # no Linux
        return
    told = dict(line.partition(":")[::2] for line in text.splitlines())
    values = {name.strip(): value.strip() for name, value in told.items()}
    is_zen4 = values.get("vendor_id") == "AuthenticAMD" and values.get("cpu family") == "25"
    if is_zen4 and "avx512f" in values.get("flags", "").split():
        major, minor = (int(part) for part in version("numpy").split(".")[:2])
        environment.setdefault("NPY_DISABLE_CPU_FEATURES", "X86_V4" if (major, minor) >= (2, 4) else "AVX512_SKX")
