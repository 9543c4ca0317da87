"""The loss of the head in parts: its value and gradients against the plain formula, and what it holds."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from talweg.model import cross_entropy, limits
from talweg.model.cross_entropy import token_losses, total_cross_entropy
from talweg.model.gpt import GPT
from talweg.model.shape import Shape

from .test_kernels import assert_same

T, D, V = 7, 5, 12


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(params=[1, 2, 7, 100])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tokens at a time: of 7, parts of one; of two and one last; all; more than there are."""
    in_parts(monkeypatch, request.param)
    return int(request.param)


def in_parts(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(limits, "LOGITS", {"cpu": 1, "cuda": 1})
    monkeypatch.setattr(limits, "LEAST", {"cpu": rows, "cuda": rows})


def plain(features: Tensor, weight: Tensor, targets: Tensor, cap: float) -> Tensor:
    logits = features @ weight.t()
    logits = cap * torch.tanh(logits / cap) if cap else logits
    return functional.cross_entropy(logits, targets, reduction="sum")


CAPS = pytest.mark.parametrize("cap", [0.0, 3.0])
WAYS = pytest.mark.parametrize("way", ["_derive", "_derive_cached"])  # of a GPU, of a CPU


def use(way: str, monkeypatch: pytest.MonkeyPatch, cached: int = 24) -> None:
    """24: on a CPU two tokens are turned into probabilities at a time."""
    monkeypatch.setattr(cross_entropy, "CACHED", cached)
    monkeypatch.setattr(cross_entropy, "_losses_leaving_gradients", getattr(cross_entropy, way))


@CAPS
@WAYS
@pytest.mark.usefixtures("rows")
def test_the_value_and_gradients_are_those_of_the_plain_formula(
    way: str, cap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(way, monkeypatch)
    targets = torch.randint(0, V, (T,))
    assert_same(
        lambda f, w: total_cross_entropy(f, w, targets, cap),
        lambda f, w: plain(f, w, targets, cap),
        torch.randn(T, D),
        2 * torch.randn(V, D),
    )


@CAPS
@pytest.mark.usefixtures("rows")
def test_gradients_in_double_precision(cap: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "CACHED", 24)
    targets = torch.randint(0, V, (T,))
    features = torch.randn(T, D, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(V, D, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, w: total_cross_entropy(f, w, targets, cap), (features, weight))


@CAPS
@WAYS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_and_with_a_scaled_loss(
    dtype: torch.dtype, way: str, cap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(way, monkeypatch)
    in_parts(monkeypatch, 16)
    features, weight = torch.randn(50, 16), torch.randn(24, 16)
    targets = torch.randint(0, 24, (50,))

    def mine(f: Tensor, w: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=dtype):
            loss = total_cross_entropy(f, w, targets, cap)
        assert loss.dtype == torch.float32
        return loss * 1024.0

    leaves = [features.requires_grad_(), weight.requires_grad_()]
    exact = torch.autograd.grad(plain(features, weight, targets, cap) * 1024, leaves)
    near = torch.autograd.grad(mine(features, weight), leaves)
    for one, other in zip(near, exact, strict=True):
        assert one.dtype == torch.float32
        assert ((one - other).norm() / other.norm()).item() < 0.01
    assert mine(features, weight).item() == pytest.approx(1024 * plain(features, weight, targets, cap).item(), rel=0.01)


def test_any_size_of_the_parts_gives_the_same_gradient_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weight's gradient is summed in fp32: in bf16 sums over 64 parts would lose it."""
    features, weight = torch.randn(256, 16), torch.randn(24, 16)
    targets, found = torch.randint(0, 24, (256,)), {}
    for rows in (4, 256):
        in_parts(monkeypatch, rows)
        leaf = weight.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total_cross_entropy(features, leaf, targets).backward()
        assert leaf.grad is not None
        found[rows] = leaf.grad
    assert ((found[4] - found[256]).norm() / found[256].norm()).item() < 0.004


@WAYS
def test_a_token_held_impossible_has_its_finite_loss(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(way, monkeypatch)
    features, weight = torch.eye(2) * 200, torch.eye(2)
    loss = total_cross_entropy(features, weight, torch.tensor([1, 1]))
    assert loss.item() == pytest.approx(200)


class Largest(TorchDispatchMode):
    """The most numbers that any tensor held which an operation gave."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else [result]:
            if isinstance(each, Tensor):
                self.numel = max(self.numel, each.untyped_storage().nbytes() // each.element_size())
        return result


@WAYS
def test_the_logits_of_all_tokens_are_never_held(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(way, monkeypatch, cached=400)
    in_parts(monkeypatch, 10)
    features, weight = torch.randn(1000, 4, requires_grad=True), torch.randn(200, 4, requires_grad=True)
    targets = torch.randint(0, 200, (1000,))
    with Largest() as held:
        total_cross_entropy(features, weight, targets).backward()
    assert held.numel == 1000 * 4  # of the features; the logits of ten tokens are 2,000
    with torch.no_grad(), Largest() as held:
        token_losses(features, weight, targets)
    assert held.numel == 1000 * 4


@CAPS
@pytest.mark.usefixtures("rows")
def test_the_losses_of_the_tokens(cap: float) -> None:
    features, weight, targets = torch.randn(T, D), torch.randn(V, D), torch.randint(0, V, (T,))
    targets[2] = -1
    losses = token_losses(features, weight, targets, cap)
    for t in range(T):
        logits = [float(features[t] @ weight[v]) for v in range(V)]
        logits = [cap * float(torch.tanh(torch.tensor(x / cap))) if cap else x for x in logits]
        total = torch.tensor(logits).exp().sum().log().item()
        assert losses[t].item() == pytest.approx(0.0 if t == 2 else total - logits[targets[t]], abs=1e-5)


@pytest.mark.usefixtures("rows")
def test_the_largest_logit_is_that_before_the_cap() -> None:
    features, weight, targets = torch.randn(T, D), 9 * torch.randn(V, D), torch.randint(0, V, (T,))
    largest = torch.zeros(())
    total_cross_entropy(features, weight, targets, 3.0, largest)
    assert largest.item() == pytest.approx((features @ weight.t()).abs().max().item())
    total_cross_entropy(features / 2, weight, targets, 3.0, largest)  # over several passes
    assert largest.item() == pytest.approx((features @ weight.t()).abs().max().item())


def test_the_model_tells_its_largest_logit_when_asked() -> None:
    model = GPT(Shape(2, 2, 16, 8, 64, logit_softcap=15.0, initialisation="gpt2"))
    tokens = torch.randint(0, 64, (2, 9))
    halves = [(each[:, :-1], each[:, 1:]) for each in tokens.split(1)]
    losses = [model.total_loss(*half).item() for half in halves]
    assert model.max_logit is None
    model.max_logit = torch.zeros(())
    assert [model.total_loss(*half).item() for half in halves] == losses
    largest = [(model.features(inputs) @ model.head.weight.t()).abs().max().item() for inputs, _ in halves]
    assert model.max_logit.item() == pytest.approx(max(largest), rel=1e-5)
    model.max_logit.zero_()
    model.total_loss(*halves[1])
    assert model.max_logit.item() == pytest.approx(largest[1], rel=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_the_weight_of_a_tied_head_gets_both_gradients(tied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    in_parts(monkeypatch, 3)
    model = GPT(Shape(2, 2, 16, 8, 64, initialisation="gpt2", tied_head=tied))
    tokens = torch.randint(0, 64, (2, 9))
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    mine = torch.autograd.grad(model.total_loss(inputs, targets), list(model.parameters()))
    logits = functional.linear(model.features(inputs), model.head.weight).flatten(0, 1)
    loss = functional.cross_entropy(logits, targets.flatten(), reduction="sum")
    for one, other in zip(mine, torch.autograd.grad(loss, list(model.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@CAPS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_on_a_gpu(dtype: torch.dtype, cap: float, monkeypatch: pytest.MonkeyPatch) -> None:
    in_parts(monkeypatch, 16)
    features, weight = (torch.randn(n, 16, device="cuda", requires_grad=True) for n in (50, 24))
    targets = torch.randint(0, 24, (50,), device="cuda")
    with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
        loss = total_cross_entropy(features, weight, targets, cap)
    exact = plain(features, weight, targets, cap)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4 if dtype == torch.float32 else 0.01)
    mine, theirs = (torch.autograd.grad(x, [features, weight]) for x in (loss, exact))
    for one, other in zip(mine, theirs, strict=True):
        assert ((one - other).norm() / other.norm()).item() < (1e-4 if dtype == torch.float32 else 0.02)
