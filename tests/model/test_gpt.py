"""The model: its size by hand, its first loss, and that no position sees the future."""

import math
from dataclasses import replace

import pytest
import torch

from talweg.model.gpt import GPT
from talweg.model.shape import Shape

MODERN = Shape(layers=2, heads=2, width=32, context=16, vocabulary_size=256)
CLASSIC = replace(
    MODERN,
    norm="layernorm",
    positions="learned",
    activation="gelu",
    qk_norm=False,
    initialisation="gpt2",
    bias=True,
    dropout=0.1,
)
FORMS = pytest.mark.parametrize("shape", [MODERN, CLASSIC], ids=["modern", "classic"])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@FORMS
@pytest.mark.parametrize("tied", [True, False])
def test_the_first_loss_is_that_of_a_uniform_guess(shape: Shape, tied: bool) -> None:
    shape = replace(shape, vocabulary_size=4096, width=128, tied_head=tied)
    tokens = torch.randint(0, 4096, (8, 17))
    loss = GPT(shape).eval().losses(tokens[:, :-1], tokens[:, 1:]).mean().item()
    assert loss == pytest.approx(math.log(4096), rel=0.01)


def test_parameters_by_hand() -> None:
    # modern: embedding 256 x 32, and per layer 3 D^2 + D^2 + 4 D^2 + 4 D^2 = 12 D^2; norms have none
    assert GPT(MODERN).num_parameters() == 256 * 32 + 2 * 12 * 32**2
    assert GPT(replace(MODERN, tied_head=False)).num_parameters() == 2 * 256 * 32 + 2 * 12 * 32**2
    # classic: biases 3 D + D + 4 D + D, two norms of 2 D a layer and one at the end; positions do not count
    assert GPT(CLASSIC).num_parameters() == 256 * 32 + 2 * (12 * 32**2 + 9 * 32 + 4 * 32) + 2 * 32


@FORMS
def test_no_position_sees_the_future(shape: Shape) -> None:
    model = GPT(shape).eval()
    for p in model.parameters():  # away from the small initial weights, so that a leak would show
        torch.nn.init.normal_(p, std=0.3)
    tokens = torch.randint(0, 256, (1, 16))
    changed = tokens.clone()
    changed[0, 9] = (changed[0, 9] + 1) % 256
    before, after = model(tokens), model(changed)
    assert torch.allclose(before[0, :9], after[0, :9], atol=1e-5)
    assert not torch.allclose(before[0, 9], after[0, 9], atol=1e-2)
    assert not torch.allclose(before[0, 15], after[0, 15], atol=1e-2)  # and the past is seen


@FORMS
def test_the_order_of_the_past_matters(shape: Shape) -> None:
    model = GPT(shape).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    tokens = torch.arange(16)[None]
    swapped = tokens.clone()
    swapped[0, [2, 5]] = tokens[0, [5, 2]]
    assert not torch.allclose(model(tokens)[0, 15], model(swapped)[0, 15], atol=1e-3)


@FORMS
def test_the_training_loss_is_the_sum_of_the_tokens_losses(shape: Shape) -> None:
    model = GPT(replace(shape, dropout=0.0))
    tokens = torch.randint(0, 256, (3, 17))
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    model.total_loss(inputs, targets).backward()
    first = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    losses = model.losses(inputs, targets)
    losses.sum().backward()
    assert model.total_loss(inputs, targets).item() == pytest.approx(losses.sum().item(), rel=1e-5)
    assert first.keys() == dict(model.named_parameters()).keys()
    for name, p in model.named_parameters():
        torch.testing.assert_close(first[name], p.grad, rtol=1e-4, atol=1e-4)


def test_masked_targets_cost_nothing() -> None:
    tokens, targets = torch.randint(0, 256, (1, 16)), torch.randint(0, 256, (1, 16))
    targets[0, 10:] = -1
    losses = GPT(MODERN).losses(tokens, targets)
    assert losses[0, 10:].abs().max() == 0
    assert losses[0, :10].min() > 0


def test_projections_into_the_residual_stream_start_smaller() -> None:
    model = GPT(replace(CLASSIC, layers=8, width=64))
    out, into = model.blocks[0].feed_forward.out.weight, model.blocks[0].feed_forward.into.weight
    assert into.std().item() == pytest.approx(0.02, rel=0.05)
    assert out.std().item() == pytest.approx(0.02 / 4, rel=0.05)  # 1 / sqrt(2 x 8)


def test_every_block_begins_as_the_identity() -> None:
    x = torch.randn(1, 16, 32)
    assert torch.equal(GPT(MODERN).blocks[1](x), x)
    assert not torch.equal(GPT(replace(MODERN, initialisation="gpt2")).blocks[1](x), x)
    assert GPT(MODERN).blocks[1].feed_forward.into.weight.std().item() == pytest.approx(32**-0.5, rel=0.05)


def test_dropout_acts_in_training_only() -> None:
    model = GPT(CLASSIC)
    tokens = torch.randint(0, 256, (1, 16))
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))
