"""Hand-written gradients against autograd of the plain formula, in double precision and in bf16."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from talweg.model import kernels
from talweg.model.gpt import GPT, rotation
from talweg.model.shape import Shape


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def gradients(f: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The value and the gradients of a weighted sum of it (weights that no symmetry hides behind)."""
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    y = f(*leaves)
    (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    return [y.detach(), *(x.grad for x in leaves if x.grad is not None)]


def assert_same(
    f: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor, tolerance: float = 1e-5
) -> None:
    for mine, theirs in zip(gradients(f, *inputs), gradients(plain, *inputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


def test_rms_norm() -> None:
    def plain(x: Tensor) -> Tensor:
        return x / torch.sqrt(x.square().mean(-1, keepdim=True) + kernels.EPSILON)

    assert_same(kernels.rms_norm, plain, 3 * torch.randn(4, 5, 16))
    assert kernels.rms_norm(torch.zeros(2, 8)).abs().max() == 0


def test_rms_norm_with_a_gain() -> None:
    def plain(x: Tensor, gain: Tensor) -> Tensor:
        return gain * x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-3)

    assert_same(lambda x, gain: kernels.rms_norm(x, gain, 1e-3), plain, torch.randn(4, 5, 16), torch.randn(16))


def test_swiglu() -> None:
    def plain(x: Tensor) -> Tensor:
        return x[..., :8] / (1 + torch.exp(-x[..., :8])) * x[..., 8:]

    assert_same(kernels.swiglu, plain, 2 * torch.randn(4, 3, 16))


def test_mix() -> None:
    x, y, weights = torch.randn(2, 3, 8), torch.randn(2, 3, 8), torch.tensor([0.7, -0.2])
    assert_same(kernels.mix, lambda x, y, w: w[0] * x + w[1] * y, x, y, weights)
    assert_same(  # values: a part of a larger tensor, with gaps between its rows
        lambda x, y, w: kernels.mix(x[..., 2:6], y[..., 4:], w),
        lambda x, y, w: w[0] * x[..., 2:6] + w[1] * y[..., 4:],
        x,
        y,
        weights,
    )


def test_the_gradients_of_the_learned_numbers_in_bf16_are_near() -> None:
    x, y, weights = torch.randn(64, 32, 16), torch.randn(64, 32, 16), torch.tensor([0.5, 0.5])
    near = gradients(lambda x, y, w: kernels.mix(x.bfloat16(), y.bfloat16(), w).float(), x, y, weights)
    exact = gradients(lambda x, y, w: w[0] * x + w[1] * y, x, y, weights)
    torch.testing.assert_close(near[3], exact[3], rtol=0.01, atol=0.5)  # of sums of 32,768 numbers of size 1


@pytest.mark.parametrize(
    "f",
    [
        lambda x: kernels.rms_norm(x[0], x[1, 0]),
        lambda x: kernels.rms_norm(x[0]),
        lambda x: kernels.swiglu(x),
        lambda x: kernels.mix(x[0], x[1], x[0, 0, :2]),
        lambda x: kernels.normed_rotated(x[:, :, None], rotation(3, 6), normed=True),
        lambda x: kernels.normed_rotated(x[:, :, None], rotation(3, 6), normed=False),
    ],
    ids=["rms_norm with a gain", "rms_norm", "swiglu", "mix", "normed and rotated", "rotated"],
)
def test_gradients_in_double_precision(f: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(f, (x,), atol=1e-5, rtol=1e-4)


def test_relu2() -> None:
    assert_same(kernels.relu2, lambda x: torch.where(x > 0, x * x, 0 * x), torch.randn(4, 16))


@pytest.mark.parametrize("compiling", [True, False])
@pytest.mark.parametrize("normed", [True, False])
def test_normed_rotated_by_sine_and_cosine(normed: bool, compiling: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    S, H, K = 6, 2, 8

    def plain(x: Tensor) -> Tensor:
        if normed:
            x = x / torch.sqrt(x.square().mean(-1, keepdim=True) + kernels.EPSILON)
        angle = torch.arange(S)[:, None] * 10_000.0 ** (-torch.arange(0, K, 2) / K)
        cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1).flatten(-2)

    turn = rotation(S, K)
    x = torch.randn(3, S, H, K)
    before = x.clone()
    assert_same(lambda x: kernels.normed_rotated(x, turn, normed=normed), plain, x)
    assert torch.equal(x, before)


def test_rotated_products_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 8).expand(2, 1, 9, 1, 8)
    turn = rotation(9, 8)
    q, k = (kernels.normed_rotated(x.contiguous(), turn, normed=False)[0, :, 0] for x in (q, k))
    products = q @ k.T
    assert products[7, 4] == pytest.approx(products[5, 2].item(), abs=1e-5)
    assert products[7, 4] != pytest.approx(products[5, 4].item(), abs=1e-3)


@pytest.mark.parametrize("groups", [3, 1])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_causal_attention(dtype: torch.dtype, dropout: float, groups: int) -> None:
    q, k, v = torch.randn(2, 6, 8, 4), torch.randn(2, groups, 8, 4), torch.randn(2, groups, 8, 4)

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        future = torch.full((8, 8), float("-inf")).triu(1)
        heads = []
        for h in range(6):
            g = h * groups // 6
            weights = torch.softmax(q[:, h] @ k[:, g].transpose(-1, -2) / 2 + future, dim=-1)
            heads.append(weights @ v[:, g])
        return torch.stack(heads, dim=1)

    def mine(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return kernels.causal_attention(q.to(dtype), k.to(dtype), v.to(dtype), 0.0).float()

    assert_same(mine, plain, q, k, v, tolerance=1e-5 if dtype == torch.float32 else 0.08)
    if dropout:
        leaves = [x.to(dtype).requires_grad_() for x in (q, k, v)]
        mean = torch.stack([kernels.causal_attention(*leaves, dropout).float() for _ in range(3000)]).mean(0)
        torch.testing.assert_close(mean, plain(q, k, v), atol=0.15, rtol=0.0)


def test_in_bf16_the_residual_stream_is_of_that_type() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert GPT(Shape(1, 1, 8, 4, 16)).features(torch.zeros(1, 4, dtype=torch.int64)).dtype == torch.bfloat16
