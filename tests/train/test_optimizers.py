"""Each optimizer against a slow reference in float64, written from its formula and not from our code."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from talweg.errors import InputError
from talweg.model.gpt import GPT
from talweg.train import optimizers
from talweg.train.config import Config
from talweg.train.start import shape

Make = Callable[..., Config]
Array = NDArray[np.float64]
MATRICES = ("qkv.weight", "out.weight", "into.weight")


def model_of(config: Config) -> GPT:
    torch.manual_seed(0)
    model = GPT(shape(config))
    with torch.no_grad():
        for parameter in model.parameters():  # none is zero, so that decay shows everywhere
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def steps(
    model: nn.Module, optimizer: torch.optim.Optimizer, rates: list[float], seed: int = 1
) -> list[dict[str, Any]]:
    """Take a step with made-up gradients at each rate; returns the gradients."""
    generator, given = torch.Generator().manual_seed(seed), []
    for rate in rates:
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        given.append({name: p.grad.double().numpy() for name, p in model.named_parameters() if p.grad is not None})
        optimizers.set_learning_rate(optimizer, rate)
        optimizer.step()
    return given


def weights_of(model: nn.Module) -> dict[str, Array]:
    return {name: p.detach().double().numpy().copy() for name, p in model.named_parameters()}


def adamw(w: Array, gradients: list[Array], rates: list[float], decay: float) -> Array:
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g**2
        w = w - rate * decay * w
        w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
    return w


def polar(n: Array) -> Array:
    """What five iterations make of the singular values, which they leave in their vectors."""
    u, s, vt = np.linalg.svd(n, full_matrices=False)
    s = s / np.linalg.norm(n)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ np.diag(s) @ vt


def muon(w: Array, gradients: list[Array], rates: list[float], decay: float) -> Array:
    """One matrix."""
    momentum = np.zeros_like(w)
    for g, rate in zip(gradients, rates, strict=True):
        momentum = 0.95 * momentum + 0.05 * g
        ahead = 0.05 * g + 0.95 * momentum
        w = (1 - rate * decay) * w - rate * 0.2 * math.sqrt(max(w.shape)) * polar(ahead)
    return w


def muon_blocks(name: str, w: Array, gradients: list[Array], rates: list[float], head_width: int) -> Array:
    """Queries, keys and values of each head on their own."""
    size = head_width if name.endswith("qkv.weight") else len(w)
    parts = [slice(i, i + size) for i in range(0, len(w), size)]
    return np.concatenate([muon(w[p], [g[p] for g in gradients], rates, 0.1) for p in parts])


RATES = [1e-3, 3e-3, 2e-3]


@pytest.mark.parametrize("changes", [{}, {"model__bias": True, "model__norm": "layernorm", "model__tied_head": False}])
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_steps_equal_the_reference(configured: Make, name: str, changes: dict[str, Any]) -> None:
    config = configured(optimizer__name=name, model__vocabulary_size=64, **changes)
    model = model_of(config)
    before, optimizer = weights_of(model), optimizers.build(model, config)
    gradients, after = steps(model, optimizer, RATES), weights_of(model)
    for key, w in before.items():
        g = [each[key] for each in gradients]
        if name == "muon" and key.endswith(MATRICES):
            expected = muon_blocks(key, w, g, RATES, head_width=8)
        else:
            expected = adamw(w, g, RATES, 0.1 if w.ndim == 2 else 0.0)
        np.testing.assert_allclose(after[key], expected, atol=3e-6, err_msg=key)


def test_a_state_that_was_saved_goes_on_bit_for_bit(configured: Make) -> None:
    for name in ("adamw", "muon"):
        config = configured(optimizer__name=name, model__vocabulary_size=64)
        model, other = model_of(config), model_of(config)
        optimizer = optimizers.build(model, config)
        steps(model, optimizer, RATES)
        state = {key: tensor.clone() for key, tensor in optimizers.state_tensors(model, optimizer).items()}
        other.load_state_dict(model.state_dict())
        restored = optimizers.build(other, config)
        optimizers.restore(other, restored, state)
        steps(model, optimizer, RATES, seed=2)
        steps(other, restored, RATES, seed=2)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)), name


def test_the_state_of_another_optimizer_is_refused(configured: Make) -> None:
    adam, muon = (configured(optimizer__name=name, model__vocabulary_size=64) for name in ("adamw", "muon"))
    model = model_of(adam)
    optimizer = optimizers.build(model, adam)
    steps(model, optimizer, RATES)
    state = optimizers.state_tensors(model, optimizer)
    with pytest.raises(InputError, match=r"optimizer is adamw, this run's is muon; give optimizer.name = adamw, or"):
        optimizers.restore(model, optimizers.build(model, muon), state)
