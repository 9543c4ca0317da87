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
from talweg.train.optimizers import measure
from talweg.train.optimizers.muon import newton_schulz
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
    """What the iterations make of the singular values, which they leave in their vectors."""
    u, s, vt = np.linalg.svd(n, full_matrices=False)
    s = s / (1.01 * np.sum(s**8) ** (1 / 8))
    s = 7.7110 * s - 22.1138 * s**3 + 16.2487 * s**5
    s = 3.7872 * s - 3.0659 * s**3 + 0.6533 * s**5
    s = 2.6684 * s - 1.9829 * s**3 + 0.4533 * s**5
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


def schedule_free(w: Array, gradients: list[Array], rates: list[float], decay: float) -> tuple[Array, Array]:
    """x and y, each kept and averaged as the paper writes it."""
    x, z, v, weights = w.copy(), w.copy(), np.zeros_like(w), list[float]()
    y = w
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        v = 0.95 * v + 0.05 * g**2
        z = z - rate * (g / (np.sqrt(v / (1 - 0.95**t)) + 1e-8) + decay * y)
        weights.append(max(rates[:t]) ** 2)
        c = weights[-1] / sum(weights)
        x = (1 - c) * x + c * z
        y = 0.1 * z + 0.9 * x
    return x, y


RATES = [1e-3, 3e-3, 2e-3]
FREE: dict[str, Any] = {"optimizer__name": "schedule_free", "schedule__kind": "constant"}


def named(name: str) -> dict[str, Any]:
    return FREE if name == "schedule_free" else {"optimizer__name": name}


@pytest.mark.parametrize("changes", [{}, {"model__bias": True, "model__norm": "layernorm", "model__tied_head": False}])
@pytest.mark.parametrize("name", optimizers.NAMES)
def test_steps_equal_the_reference(configured: Make, name: str, changes: dict[str, Any]) -> None:
    config = configured(**named(name), model__vocabulary_size=64, optimizer__beta2=0.95, **changes)
    model = model_of(config)
    before, optimizer = weights_of(model), optimizers.build(model, config)
    gradients, after = steps(model, optimizer, RATES), weights_of(model)
    averages = optimizers.evaluation_weights(model, optimizer)
    for key, w in before.items():
        g = [each[key] for each in gradients]
        if averages is not None:
            average, expected = schedule_free(w, g, RATES, 0.1 if w.ndim == 2 else 0.0)
            np.testing.assert_allclose(averages[key].numpy(), average, atol=3e-6, err_msg=key)
        elif name == "muon" and key.endswith(MATRICES):
            expected = muon_blocks(key, w, g, RATES, head_width=8)
        else:
            expected = adamw(w, g, RATES, 0.1 if w.ndim == 2 else 0.0)
        np.testing.assert_allclose(after[key], expected, atol=3e-6, err_msg=key)


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_a_state_that_was_saved_goes_on_bit_for_bit(configured: Make, name: str) -> None:
    config = configured(**named(name), model__vocabulary_size=64)
    model, other = model_of(config), model_of(config)
    optimizer = optimizers.build(model, config)
    steps(model, optimizer, RATES)
    state = {key: tensor.clone() for key, tensor in optimizers.state_tensors(model, optimizer).items()}
    saved = optimizers.evaluation_weights(model, optimizer) or model.state_dict()
    other.load_state_dict(saved, strict=False)  # a tied head has one name there
    restored = optimizers.build(other, config)
    optimizers.restore(other, restored, state)
    steps(model, optimizer, RATES, seed=2)
    steps(other, restored, RATES, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    forgetful = optimizers.build(model_of(config), config)
    assert not optimizers.state_tensors(other, restored).keys() <= optimizers.state_tensors(other, forgetful).keys()


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_a_state_from_before_the_first_step_takes_back_what_came_after(configured: Make, name: str) -> None:
    config = configured(**named(name), model__vocabulary_size=64)
    model, fresh = model_of(config), model_of(config)
    optimizer = optimizers.build(model, config)
    state = {key: tensor.clone() for key, tensor in optimizers.state_tensors(model, optimizer).items()}
    steps(model, optimizer, RATES)
    model.load_state_dict(fresh.state_dict())
    optimizers.restore(model, optimizer, state)
    steps(model, optimizer, RATES)
    steps(fresh, optimizers.build(fresh, config), RATES)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))


@pytest.mark.parametrize("now", optimizers.NAMES)
@pytest.mark.parametrize("then", optimizers.NAMES)
def test_the_state_of_another_optimizer_is_refused(configured: Make, then: str, now: str) -> None:
    if then == now:
        return
    before, after = (configured(**named(name), model__vocabulary_size=64) for name in (then, now))
    model = model_of(before)
    optimizer = optimizers.build(model, before)
    steps(model, optimizer, RATES)
    state = optimizers.state_tensors(model, optimizer)
    message = f"optimizer is {then}, this run's is {now}; give optimizer.name = {then}, or another run.name"
    with pytest.raises(InputError, match=message):
        optimizers.restore(model, optimizers.build(model, after), state)


def test_the_state_of_another_model_is_refused(configured: Make) -> None:
    config, wide = configured(model__vocabulary_size=64), configured(model__vocabulary_size=64, model__width=32)
    model = model_of(config)
    optimizer = optimizers.build(model, config)
    steps(model, optimizer, RATES)
    other = model_of(wide)
    with pytest.raises(InputError, match=r"has embedding.weight in another shape than the model"):
        optimizers.restore(other, optimizers.build(other, wide), optimizers.state_tensors(model, optimizer))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_values_of_a_hundredth_to_one_end_within_the_band(dtype: torch.dtype) -> None:
    """Of matrices with known singular values, at several scales; the exact polar factor is nearly the direction."""
    generator = torch.Generator().manual_seed(0)
    wide = torch.linalg.qr(torch.randn(3, 48, 16, generator=generator))[0].transpose(1, 2)
    square = torch.linalg.qr(torch.randn(3, 16, 16, generator=generator))[0]
    singular = torch.logspace(0, -1.9, 16) * torch.tensor([1e-6, 1.0, 1e4])[:, None, None]
    result = newton_schulz(((square * singular) @ wide).to(dtype)).float()
    found, exact = torch.linalg.svdvals(result), square @ wide
    assert float(found.min()) > 0.70
    assert float(found.max()) < 1.29
    along = (result * exact).sum((1, 2)) / (result.norm(dim=(1, 2)) * exact.norm(dim=(1, 2)))
    assert float(along.min()) > 0.97


def test_a_gradient_of_zeros_moves_no_matrix(configured: Make) -> None:
    config = configured(optimizer__name="muon", model__vocabulary_size=64, optimizer__weight_decay=0.0)
    model = model_of(config)
    before, optimizer = weights_of(model), optimizers.build(model, config)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, w in weights_of(model).items():
        np.testing.assert_array_equal(w, before[key])


def test_a_rate_of_zero_moves_nothing(configured: Make) -> None:
    """The pace is measured so."""
    for name in optimizers.NAMES:
        config = configured(**named(name), model__vocabulary_size=64)
        model = model_of(config)
        before, optimizer = weights_of(model), optimizers.build(model, config)
        steps(model, optimizer, [0.0])
        for key, w in weights_of(model).items():
            np.testing.assert_array_equal(w, before[key])


def test_muon_moves_a_matrix_as_far_as_adamw(configured: Make) -> None:
    """The reason for its scale: the RMS of an update is 0.2 of the rate, whatever the shape."""
    config = configured(optimizer__name="muon", model__vocabulary_size=64, optimizer__weight_decay=0.0)
    model = model_of(config)
    before, optimizer = weights_of(model), optimizers.build(model, config)
    steps(model, optimizer, [1e-2])
    after = weights_of(model)
    for key, w in before.items():
        if key.endswith(MATRICES):
            rms = float(np.sqrt(np.square(after[key] - w).mean()))
            assert rms == pytest.approx(0.2 * 1e-2, rel=0.25), key


def test_every_parameter_is_in_one_group_with_its_rate(configured: Make) -> None:
    changes = {
        "model__bias": True,
        "model__norm": "layernorm",
        "model__positions": "learned",
        "model__tied_head": False,
    }
    factors = {
        "optimizer__embedding_lr_factor": 2.0,
        "optimizer__head_lr_factor": 0.5,
        "optimizer__vector_lr_factor": 3.0,
    }
    config = configured(model__vocabulary_size=64, optimizer__base_width=8, **changes, **factors)
    model = model_of(config)
    model.mix = nn.Parameter(torch.tensor([1.0, 0.0]))  # as a learned shortcut of the model is
    optimizer = optimizers.build(model, config)
    groups = {group["name"]: group for group in optimizer.param_groups}
    members = [p for group in groups.values() for p in group["params"]]
    assert len(members) == len({id(p) for p in members}) == len(list(model.parameters()))
    assert optimizers.learning_rates(optimizer, 0.1) == pytest.approx(
        {"matrices": 0.05, "embedding": 0.2, "head": 0.05, "vectors": 0.3, "scalars": 0.1}
    )
    assert [len(groups[name]["params"]) for name in ("embedding", "head", "scalars")] == [2, 1, 1]
    assert {name: group["weight_decay"] for name, group in groups.items()} == {
        "matrices": 0.1,
        "embedding": 0.1,
        "head": 0.1,
        "vectors": 0.0,
        "scalars": 0.0,
    }
    optimizers.set_learning_rate(optimizer, 0.1)
    assert groups["head"]["lr"] == pytest.approx(0.05)


def test_the_rate_of_hidden_matrices_falls_with_the_width(configured: Make) -> None:
    for name, factor in (("adamw", 1 / 4), ("muon", 1 / 2)):
        config = configured(optimizer__name=name, model__vocabulary_size=64, model__width=64, optimizer__base_width=16)
        rates = optimizers.learning_rates(optimizers.build(model_of(config), config), 1.0)
        assert rates["matrices"] == pytest.approx(factor)
        assert rates["embedding"] == 1.0


def test_a_measured_step_is_the_step_and_says_how_far_it_went(configured: Make) -> None:
    config = configured(optimizer__name="muon", model__vocabulary_size=64, model__norm="layernorm", model__bias=True)
    model, other = model_of(config), model_of(config)
    optimizer, plain = optimizers.build(model, config), optimizers.build(other, config)
    steps(model, optimizer, RATES)
    steps(other, plain, RATES)
    before = weights_of(model)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        a.grad = torch.ones_like(a)
        b.grad = torch.ones_like(b)
    ratios = optimizers.measured_step(optimizer)
    plain.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    after = weights_of(model)
    for group, belongs in (("matrices", lambda n: n.endswith(MATRICES)), ("embedding", lambda n: n.startswith("emb"))):
        names = [name for name in before if belongs(name)]
        moved = sum(float(np.square(after[name] - before[name]).sum()) for name in names)
        weight = sum(float(np.square(before[name]).sum()) for name in names)
        assert ratios[group] == pytest.approx(math.sqrt(moved / weight), rel=1e-5)
    moved = sum(float(np.square(after[name] - before[name]).sum()) for name in before)
    weight = sum(float(np.square(before[name]).sum()) for name in before)
    assert ratios["all"] == pytest.approx(math.sqrt(moved / weight), rel=1e-5)
    assert ratios.keys() == {"matrices", "embedding", "vectors", "all"}


def test_a_sample_of_a_large_matrix_stands_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = nn.Parameter(torch.randn(512, 64, generator=torch.Generator().manual_seed(0)))
    optimizer = torch.optim.SGD([{"params": [weight], "name": "matrices"}], lr=0.1)
    weight.grad = torch.randn(512, 64, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(measure, "SAMPLE", 4096)
    whole = 0.1 * float(weight.grad.norm() / weight.detach().norm())
    assert optimizers.measured_step(optimizer)["matrices"] == pytest.approx(whole, rel=0.05)


def test_a_group_of_zeros(configured: Make) -> None:
    still, moving = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
    still.grad, moving.grad = torch.zeros(3), torch.ones(3)
    optimizer = torch.optim.SGD([{"params": [still], "name": "a"}, {"params": [moving], "name": "b"}], lr=0.1)
    ratios = optimizers.measured_step(optimizer)
    assert math.isnan(ratios["a"])
    assert ratios["b"] == math.inf


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", optimizers.NAMES)
def test_a_gpu_takes_the_same_steps(configured: Make, name: str) -> None:
    config = configured(**named(name), model__vocabulary_size=64)
    model, other = model_of(config), model_of(config).to("cuda")
    optimizer, there = optimizers.build(model, config), optimizers.build(other, config)
    for rate, gradients in zip(RATES, steps(model, optimizer, RATES), strict=True):
        for key, parameter in other.named_parameters():
            parameter.grad = torch.from_numpy(gradients[key]).float().to("cuda")
        optimizers.set_learning_rate(there, rate)
        assert all(math.isfinite(ratio) for ratio in optimizers.measured_step(there).values())
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b.cpu(), atol=1e-5, rtol=1e-4)
