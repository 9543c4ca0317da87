"""What the machine offers, measured: the device, the threads, and whether bf16 pays on it."""

import ctypes
import sys
import time
from contextlib import AbstractContextManager, nullcontext, suppress

import torch

from talweg.errors import InputError
from talweg.train.config import Config
from talweg.train.resolve import Machine

ROWS = 2048  # of the matrix product that decides the precision: tokens in a small micro-batch
PAYS = 1.3  # our choice: bf16 must win this factor in matrix products, or the rest of the step eats the gain
SECONDS = 0.05  # of measuring, for each precision
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def measure(config: Config) -> Machine:
    """Choose what the configuration leaves open."""
    reasons: dict[str, str] = {}
    device = found(config.hardware.device)
    if config.hardware.device == "auto":
        reasons["hardware.device"] = "the fastest that is here"
    precision: str = config.hardware.precision
    threads = config.hardware.threads or torch.get_num_threads()
    reasons["hardware.threads"] = "every core that torch was given"
    torch.set_num_threads(threads)
    if precision == "auto":
        precision, reasons["hardware.precision"] = _precision(device, config.model.width)
    return Machine(device, precision, threads, reasons)


def found(device: str) -> str:
    """cpu, cuda or mps as asked for; of "auto" the fastest that is here. Raises InputError when it is not here."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, is_here in here.items() if is_here)
    if not here[device]:
        raise InputError(f"hardware.device = {device}, but torch finds none here; leave it out or give cpu")
    return device


def prepare(threads: int) -> None:
    """Settings of the process: threads, no slow path for numbers too small to matter, memory that is kept."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    _keep_memory()


def _keep_memory() -> None:
    """Let the C library reuse large blocks, which each step frees and asks for again.

    By default it gives them back to the kernel, which hands them out again page by page, zeroed: a fifth of a small
    model's step. Where the C library is not glibc, nothing is done.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25)  # older versions allow 32 MB at most


def peak_memory(device: str) -> int:
    """Bytes that training has held at most so far: of the GPU, else of the process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # Linux counts in KiB


def autocast(device: str, precision: str) -> AbstractContextManager[object]:
    """The context in which forward passes run."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device, dtype=torch.float16 if precision == "fp16" else torch.bfloat16)


def _precision(device: str, width: int) -> tuple[str, str]:
    if device == "mps" or (device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)):
        return "fp32", f"bf16 is not native on this {device} device"
    if device == "cuda":
        return "bf16", "native on this GPU"
    fp32, bf16 = product_rate(ROWS, width, 4 * width, "fp32"), product_rate(ROWS, width, 4 * width, "bf16")
    shape = f"{ROWS} x {width} by {width} x {4 * width}"
    reason = f"matrix product {shape}: bf16 {bf16 / 1e9:.0f} GFLOP/s with its casts, fp32 {fp32 / 1e9:.0f}"
    return ("bf16" if bf16 > PAYS * fp32 else "fp32"), reason


def product_rate(rows: int, inner: int, columns: int, precision: str, *, casts: bool = True) -> float:
    """Floating-point operations per second of (rows, inner) x (inner, columns) on the CPU: the best of many trials.

    casts: fp32 comes in, as in a forward pass, so bf16 pays for casting its input.
    """
    left, right = torch.ones(rows, inner), torch.ones(inner, columns)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    right = right.to(dtype)
    if not casts:
        left = left.to(dtype)
    best, end = float("inf"), time.perf_counter() + SECONDS
    trials = 0
    while trials < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        left.to(dtype) @ right
        best = min(best, time.perf_counter() - begin)
        trials += 1
    return 2.0 * rows * inner * columns / best
