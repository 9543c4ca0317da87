"""Model FLOPs utilisation: the arithmetic that the model needs, over what the device could do in the same time.

    MFU = flops_per_token x tokens per second / (peak x devices)          (Chowdhery et al. 2022, appendix B)

The peak is that of the device at hand: a run that does 12 % of an A100's 312 TFLOPS on an RTX 4070 does 64 % of what
the 4070 can (58.3).
"""

from dataclasses import dataclass

import torch

from talweg.train import gpus, hardware
from talweg.train.config import Config
from talweg.train.model_size import model_size

PEAK_SIZE = 2048  # of the square matrices whose product is timed where the device is not in the table
CPU_SIZE = 1024


@dataclass(frozen=True)
class Peak:
    """Floating-point operations a second of one device in dense matrix products, and where the number is from."""

    flops: float
    source: str


def flops_per_token(config: Config, *, causal: bool = False) -> float:
    """Forward and backward: 6 per weight of a matrix product, and 12 x layers x width x context for attention.

    That is the field's count (PaLM, nanoGPT), which lets every position attend to the whole window. causal: only to
    what came before, half of it, which is all that has to be computed. An embedding that is not the head is only
    looked up.
    """
    model = config.model
    assert model.vocabulary_size is not None
    weights = model_size(config) - (0 if model.tied_head else model.vocabulary_size * model.width)
    return 6.0 * weights + (6.0 if causal else 12.0) * model.layers * model.width * model.context


def peak(device: str, precision: str) -> Peak:
    """Of one device of this kind ("cpu", "cuda", "mps") in "fp32", "bf16" or "fp16": from the table, else measured."""
    kind = "tf32" if precision == "fp32" and torch.get_float32_matmul_precision() != "highest" else precision
    if device == "cuda":
        name = torch.cuda.get_device_name()
        card = gpus.find(name)
        known = card.of(kind) if card else None
        if card and known:
            return Peak(known * 1e12, f"{name}, dense {kind} accumulated in fp32: {card.source}")
    size = CPU_SIZE if device == "cpu" else PEAK_SIZE
    rate = hardware.product_rate(size, size, size, precision, casts=False, device=device)
    return Peak(rate, f"the best of {size} x {size} matrix products in {precision}, measured at the start")


def utilisation(config: Config, tokens_per_second: float, peak: Peak) -> float:
    """The share of the peak that one device reaches. tokens_per_second: of that device alone."""
    return flops_per_token(config) * tokens_per_second / peak.flops
