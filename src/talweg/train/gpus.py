"""Peaks of GPUs in dense matrix products that accumulate in fp32, as training does; by the name the driver reports.

A peak is what the tensor cores could do at the boost clock, without sparsity. For most cards it is computed here, so
that it can be checked by hand, from the number of cores and the boost clock that the card is sold with:

    fp32 = 2 x cores x boost clock            (one multiply-add per core and clock)
    fp16 with fp32 accumulation = factor x fp32, by architecture; bf16 the same where there is bf16

GeForce cards accumulate in fp32 at half the rate at which they accumulate in fp16: the RTX 4070's 466 "AI TOPS" are
sparse fp8, its 116.6 are fp16 accumulated in fp16, and what training can use is 58.3. For the data-centre cards the
makers' stated figures are written down. Nothing here was measured, and a card whose clock is set otherwise has another
peak: the log names the numbers that a utilisation was computed with (`peak_source`).
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """TFLOPS. None: the card has no such arithmetic of its own."""

    fp32: float
    tf32: float | None
    fp16: float | None
    bf16: float | None
    source: str

    def of(self, precision: str) -> float | None:
        """The peak in fp32, tf32, fp16 or bf16."""
        return {"fp32": self.fp32, "tf32": self.tf32, "fp16": self.fp16, "bf16": self.bf16}[precision]


@dataclass(frozen=True)
class _Family:
    tf32: float  # of fp32; 0: none
    fp16: float
    bf16: bool
    words: str


HALF_RATE, FULL_RATE = "computed, half rate with fp32 accumulation", "computed"
TURING = _Family(0, 4, False, HALF_RATE)
TURING_FULL = _Family(0, 8, False, FULL_RATE)
AMPERE = _Family(1, 2, True, HALF_RATE)
AMPERE_FULL = _Family(2, 4, True, FULL_RATE)
ADA = _Family(1, 2, True, HALF_RATE)
ADA_FULL = _Family(2, 4, True, FULL_RATE)
BLACKWELL = _Family(1, 2, True, HALF_RATE)
BLACKWELL_FULL = _Family(2, 4, True, FULL_RATE)

# name without "NVIDIA" and "GeForce", cores, boost clock in MHz, family
MADE: tuple[tuple[str, int, int, _Family], ...] = (
    ("RTX 2060", 1920, 1680, TURING),
    ("RTX 2060 SUPER", 2176, 1650, TURING),
    ("RTX 2070", 2304, 1620, TURING),
    ("RTX 2070 SUPER", 2560, 1770, TURING),
    ("RTX 2080", 2944, 1710, TURING),
    ("RTX 2080 SUPER", 3072, 1815, TURING),
    ("RTX 2080 Ti", 4352, 1545, TURING),
    ("TITAN RTX", 4608, 1770, TURING_FULL),
    ("Quadro RTX 6000", 4608, 1770, TURING_FULL),
    ("Quadro RTX 8000", 4608, 1770, TURING_FULL),
    ("Tesla T4", 2560, 1590, TURING_FULL),
    ("RTX 3050", 2560, 1777, AMPERE),
    ("RTX 3060", 3584, 1777, AMPERE),
    ("RTX 3060 Ti", 4864, 1665, AMPERE),
    ("RTX 3070", 5888, 1725, AMPERE),
    ("RTX 3070 Ti", 6144, 1770, AMPERE),
    ("RTX 3080", 8704, 1710, AMPERE),
    ("RTX 3080 Ti", 10240, 1665, AMPERE),
    ("RTX 3090", 10496, 1695, AMPERE),
    ("RTX 3090 Ti", 10752, 1860, AMPERE),
    ("RTX A4000", 6144, 1560, AMPERE_FULL),
    ("RTX A5000", 8192, 1695, AMPERE_FULL),
    ("RTX A6000", 10752, 1800, AMPERE_FULL),
    ("A10", 9216, 1695, AMPERE_FULL),
    ("A40", 10752, 1740, AMPERE_FULL),
    ("RTX 4060", 3072, 2460, ADA),
    ("RTX 4060 Ti", 4352, 2535, ADA),
    ("RTX 4070", 5888, 2475, ADA),
    ("RTX 4070 SUPER", 7168, 2475, ADA),
    ("RTX 4070 Ti", 7680, 2610, ADA),
    ("RTX 4070 Ti SUPER", 8448, 2610, ADA),
    ("RTX 4080", 9728, 2505, ADA),
    ("RTX 4080 SUPER", 10240, 2550, ADA),
    ("RTX 4090", 16384, 2520, ADA),
    ("RTX 4090 D", 14592, 2520, ADA),
    ("RTX 4000 Ada Generation", 6144, 2175, ADA_FULL),
    ("RTX 5000 Ada Generation", 12800, 2550, ADA_FULL),
    ("RTX 6000 Ada Generation", 18176, 2505, ADA_FULL),
    ("RTX 5060", 3840, 2497, BLACKWELL),
    ("RTX 5060 Ti", 4608, 2572, BLACKWELL),
    ("RTX 5070", 6144, 2512, BLACKWELL),
    ("RTX 5070 Ti", 8960, 2452, BLACKWELL),
    ("RTX 5080", 10752, 2617, BLACKWELL),
    ("RTX 5090", 21760, 2407, BLACKWELL),
    ("RTX 5090 D", 21760, 2407, BLACKWELL),
    ("RTX PRO 6000 Blackwell Workstation Edition", 24064, 2617, BLACKWELL_FULL),
)

STATED = "stated by the maker"
SPARSE = "half of what the maker states with sparsity"

# Data-centre cards: the tensor cores have a clock of their own, so the dense figures that the makers state stand here.
# pattern of the whole name, fp32, tf32, fp16, bf16
SHEETS: tuple[tuple[str, float, float | None, float, float | None, str], ...] = (
    (r"(Tesla )?V100-SXM[23].*", 15.7, None, 125, None, STATED),
    (r"(Tesla )?V100-PCIE.*", 14, None, 112, None, STATED),
    (r"(Tesla )?V100S-PCIE.*", 16.4, None, 130, None, STATED),
    (r"A2", 4.5, 9, 18, 18, STATED),
    (r"A30.*", 10.3, 82, 165, 165, STATED),
    (r"A[18]00[ -].*", 19.5, 156, 312, 312, STATED),
    (r"L4", 30.3, 60, 121, 121, SPARSE),
    (r"L40", 90.5, 90.5, 181, 181, STATED),
    (r"L40S", 91.6, 183, 362, 362, STATED),
    (r"H[128]00 PCIe", 51, 378, 756, 756, SPARSE),
    (r"H[12]00 NVL", 60, 417.5, 835.5, 835.5, SPARSE),
    (r"(H[18]00 80GB HBM3|H200|GH200.*)", 67, 494.5, 989.5, 989.5, SPARSE),
    (r"H20", 44, 74, 148, 148, STATED),
    (r"B200", 75, 1125, 2250, 2250, SPARSE),
    (r"GB200", 80, 1250, 2500, 2500, SPARSE),
    (r"AMD Instinct MI250X.*", 47.9, None, 191.5, 191.5, f"{STATED}, of one of its two dies"),
    (r"AMD Instinct MI300X.*", 163.4, 653.7, 1307.4, 1307.4, STATED),
)


def find(name: str) -> Card | None:
    """The card of this name, as torch.cuda.get_device_name gives it; None: not in the table.

    The whole name must fit: the laptop version of a card is another card.
    """
    short = re.sub(r"^(NVIDIA\s+)?(GeForce\s+)?", "", name.strip(), flags=re.IGNORECASE)
    for known, cores, megahertz, family in MADE:
        if short.casefold() == known.casefold():
            fp32 = 2 * cores * megahertz * 1e-6
            half = family.fp16 * fp32
            source = f"{family.words}: {cores:,} cores at {megahertz:,} MHz"
            return Card(fp32, family.tf32 * fp32 or None, half, half if family.bf16 else None, source)
    for pattern, fp32, tf32, fp16, bf16, source in SHEETS:
        if re.fullmatch(pattern, short, re.IGNORECASE):
            return Card(fp32, tf32, fp16, bf16, source)
    return None
