"""The learning rate as a function of the step: one definition for the trainer, the readers and the forecast.

A step here is the number of optimizer updates already done, so the first update uses the rate at step 0.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Kind = Literal["cosine", "linear", "constant", "wsd"]
DecayShape = Literal["linear", "sqrt"]
KINDS: tuple[str, ...] = get_args(Kind)
DECAY_SHAPES: tuple[str, ...] = get_args(DecayShape)


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up to `peak_lr`, then a decay to `min_lr` that is complete at `end_step` and stays there.

    warmup_steps: update k < warmup_steps uses peak_lr (k + 1) / (warmup_steps + 1).
    decay_start:  wsd only: the step at which the constant phase ends and the decay begins.
    decay_shape:  wsd only: 1 - share, or 1 - sqrt(share), of the decay that is over (Hägele et al. 2024).
    """

    kind: Kind
    peak_lr: float
    min_lr: float
    warmup_steps: int
    end_step: int
    decay_start: int = 0
    decay_shape: DecayShape = "linear"

    def at(self, step: ArrayLike) -> NDArray[np.float64]:
        """The learning rate of the update that follows `step` updates, whole or not. Same shape as `step`."""
        s = np.asarray(step, dtype=np.float64)
        warmup = self.peak_lr * (s + 1) / (self.warmup_steps + 1)
        return np.where(s < self.warmup_steps, warmup, self._after_warmup(s))

    def _after_warmup(self, s: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.kind == "constant":
            return np.full_like(s, self.peak_lr)
        start = self.decay_start if self.kind == "wsd" else self.warmup_steps
        share = np.clip((s - start) / max(self.end_step - start, 1), 0.0, 1.0)
        if self.kind == "wsd" and self.decay_shape == "sqrt":
            share = np.sqrt(share)
        height = 0.5 * (1 + np.cos(math.pi * share)) if self.kind == "cosine" else 1 - share
        return self.min_lr + height * (self.peak_lr - self.min_lr)
