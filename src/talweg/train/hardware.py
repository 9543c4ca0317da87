"""What the machine offers, measured: the device, its memory, the threads, and whether bf16 and compiling pay on it."""

import ctypes
import gc
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import torch
from torch import Tensor, nn

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
    return Machine(device, precision, threads, reasons, memory=available_memory(device))


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


def available_memory(device: str) -> int | None:
    """Bytes that a training run may take now; None where that cannot be asked."""
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(free) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    if device == "mps":
        return int(torch.mps.recommended_max_memory()) - int(torch.mps.driver_allocated_memory())
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def compiled(
    objective: Callable[..., Tensor], config: Config, tell: Callable[[str], None] = lambda note: None
) -> Callable[..., Tensor]:
    """The training loss compiled by torch, where the configuration wants it and a trial works; else as it is.

    objective: a bound method such as `model.total_loss`, so that the model keeps the names of its weights. It is tried
    forward and backward on token 0; gradients and random numbers are left as they were. tell: gets the one line that
    says why it is not compiled.
    """
    if config.hardware.compile != "on":
        return objective
    device, context = config.hardware.device, config.model.context
    size = config.batch.micro_batch or config.sequences_per_step
    zeros = torch.zeros(size, context, dtype=torch.int64, device=device)
    tensors = [zeros] * (3 if config.model.document_mask else 2)
    fast: Callable[..., Tensor] = torch.compile(objective, dynamic=False)
    model = getattr(objective, "__self__", objective)
    try:
        with torch.random.fork_rng(devices=None if device == "cuda" else []):
            with autocast(device, config.hardware.precision):
                loss = fast(*tensors)
            loss.backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        tell(f"not compiled, since torch.compile failed here ({lines[0][:160]}); hardware.compile = off leaves it out")
        fast = objective
    finally:
        if isinstance(model, nn.Module):
            model.zero_grad(set_to_none=True)
    return fast


def _precision(device: str, width: int) -> tuple[str, str]:
    if device == "mps":
        return "fp32", "bf16 is not native on this mps device"
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "native on this GPU"
        return "fp16", "bf16 is not native on this GPU"
    fp32, bf16 = product_rate(ROWS, width, 4 * width, "fp32"), product_rate(ROWS, width, 4 * width, "bf16")
    shape = f"{ROWS} x {width} by {width} x {4 * width}"
    reason = f"matrix product {shape}: bf16 {bf16 / 1e9:.0f} GFLOP/s with its casts, fp32 {fp32 / 1e9:.0f}"
    return ("bf16" if bf16 > PAYS * fp32 else "fp32"), reason


def product_rate(
    rows: int, inner: int, columns: int, precision: str, *, casts: bool = True, device: str = "cpu"
) -> float:
    """Floating-point operations per second of (rows, inner) x (inner, columns): the best of many trials.

    casts: fp32 comes in, as in a forward pass, so bf16 pays for casting its input.
    """
    left, right = torch.ones(rows, inner, device=device), torch.ones(inner, columns, device=device)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    right = right.to(dtype)
    if not casts:
        left = left.to(dtype)
    best, end = float("inf"), time.perf_counter() + SECONDS
    trials = 0
    while trials < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        left.to(dtype) @ right
        synchronise(device)
        best = min(best, time.perf_counter() - begin)
        trials += 1
    return 2.0 * rows * inner * columns / best


def give_back(device: str) -> None:
    """Return what the allocator keeps of tensors that are gone, so that the next attempt finds it."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given, so that a clock can be read."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()
