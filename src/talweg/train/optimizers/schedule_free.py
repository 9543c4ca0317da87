"""Schedule-free AdamW (Defazio et al. 2024): an average of the iterates in place of a decay of the learning rate.

    v <- beta2 v + (1 - beta2) g^2              g: the gradient at y, where training happens
    u  = g / (sqrt(v / (1 - beta2^t)) + epsilon) + decay y
    z <- z - rate u                             the iterates, without momentum
    x <- (1 - c) x + c z                        their average, which is evaluated
    y  = (1 - beta1) z + beta1 x                between the two

c = w_t / (w_1 + ... + w_t), w_t = the square of the highest rate so far, so that warm-up counts little. The rate is
constant after warm-up. Parameters hold y; x is not kept but computed from y and z when it is asked for, and y is never
computed back from x, so that evaluating and saving leave no trace in the run.

An own implementation: the schedulefree package keeps its state in the way of its train and eval switches, which round
y on the way to x and back.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

NAME = "schedule_free"  # as configured, and of the tensor in the saved state that counts


class ScheduleFree(torch.optim.Optimizer):
    """Keeps z and v of each parameter, and three numbers of the whole: as much memory as AdamW."""

    def __init__(
        self, groups: Sequence[dict[str, Any]], *, lr: float, betas: tuple[float, float], epsilon: float
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": epsilon})
        self.counts = torch.zeros(3, dtype=torch.float64)  # steps, highest rate so far, sum of its squares over steps

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        steps, highest, total = self.counts.tolist()
        highest = max(highest, *(group["lr"] / group["lr_factor"] for group in self.param_groups))
        total += highest**2
        share = highest**2 / total if total else 0.0
        self.counts = torch.tensor([steps + 1, highest, total], dtype=torch.float64)
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            for p in parameters:
                if not self.state[p]:
                    self.state[p] = {"z": p.detach().clone(), "exp_avg_sq": torch.zeros_like(p)}
            # on a CPU one at a time, while it is in the cache
            for part in ([p] for p in parameters) if parameters and parameters[0].is_cpu else (parameters,):
                self._update(part, group, share, int(steps) + 1)

    def _update(self, parameters: list[Tensor], group: dict[str, Any], share: float, step: int) -> None:
        if not parameters:
            return
        (beta1, beta2), rate = group["betas"], group["lr"]
        gradients = [p.grad for p in parameters if p.grad is not None]
        z, v = ([self.state[p][moment] for p in parameters] for moment in ("z", "exp_avg_sq"))
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, gradients, gradients, 1 - beta2)
        scale = torch._foreach_sqrt(v)
        torch._foreach_div_(scale, math.sqrt(1 - beta2**step))
        torch._foreach_add_(scale, group["eps"])
        update = list(torch._foreach_div(gradients, scale))
        if group["weight_decay"]:
            torch._foreach_add_(update, parameters, alpha=group["weight_decay"])
        torch._foreach_lerp_(parameters, z, share)  # y of the new x and z, without making x
        torch._foreach_add_(parameters, update, alpha=rate * (beta1 * (1 - share) - 1))
        torch._foreach_add_(z, update, alpha=-rate)

    def average(self, parameter: Tensor) -> Tensor:
        """x of this parameter: y + (1 - 1 / beta1) (z - y), in new memory."""
        if parameter not in self.state:  # before the first step
            return parameter.detach().clone()
        beta1 = next(g["betas"][0] for g in self.param_groups if any(p is parameter for p in g["params"]))
        return torch.lerp(parameter.detach(), self.state[parameter]["z"], 1 - 1 / beta1)
