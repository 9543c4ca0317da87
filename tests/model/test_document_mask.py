"""The document mask: what one document says never reaches another."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from talweg.model import kernels
from talweg.model.gpt import GPT
from talweg.model.shape import Shape

from .test_gpt import FORMS
from .test_kernels import assert_same

DOCUMENT = torch.tensor([[3] * 5 + [4] * 4 + [9] * 7, [1] * 16])  # (2, 16)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def spread(shape: Shape) -> GPT:
    """A model whose weights are large enough for a leak to show."""
    model = GPT(shape).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model


def test_which_positions_see_which() -> None:
    allowed = kernels.same_document(torch.tensor([[7, 7, 2]]))
    assert allowed.tolist() == [[[[True, False, False], [True, True, False], [False, False, True]]]]


@pytest.mark.parametrize("dropout", [0.0, 1e-9])  # 1e-9: the path of dropout, which then leaves nothing out
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_and_its_gradient_are_those_of_the_plain_formula(dtype: torch.dtype, dropout: float) -> None:
    q, k, v = (torch.randn(2, 3, 16, 4) for _ in range(3))
    hidden = torch.ones(2, 3, 16, 16)
    for b in range(2):
        for i in range(16):
            for j in range(i + 1):
                hidden[b, :, i, j] = float(DOCUMENT[b, i] != DOCUMENT[b, j])

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.softmax((q @ k.transpose(-1, -2) / 2).masked_fill(hidden > 0, float("-inf")), dim=-1) @ v

    def mine(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        allowed = kernels.same_document(DOCUMENT)
        return kernels.causal_attention(q.to(dtype), k.to(dtype), v.to(dtype), dropout, allowed).float()

    assert_same(mine, plain, q, k, v, tolerance=1e-5 if dtype == torch.float32 else 0.1)


@FORMS
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_another_document_changes_nothing(shape: Shape, precision: torch.dtype) -> None:
    model = spread(replace(shape, dropout=0.0)).train()  # with gradients: in bf16 the path of plain products
    tokens = torch.randint(0, 256, (2, 16))
    changed = tokens.clone()
    changed[0, :5] = (changed[0, :5] + 1) % 256
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        before, after = model(tokens, DOCUMENT), model(changed, DOCUMENT)
        seen, seen_after = model(tokens), model(changed)
    assert torch.equal(before[0, 5:], after[0, 5:])
    assert not torch.equal(before[0, :5], after[0, :5])
    assert all(not torch.equal(seen[0, s], seen_after[0, s]) for s in range(5, 16))  # without the mask it reaches all


def test_the_loss_is_that_of_each_document_alone() -> None:
    """With rope, where only distances count; learned positions stay those of the window."""
    model = spread(Shape(layers=2, heads=2, width=32, context=16, vocabulary_size=256))
    tokens, targets = torch.randint(0, 256, (1, 16)), torch.randint(0, 256, (1, 16))
    whole = model.losses(tokens, targets, DOCUMENT[:1])
    alone = [model.losses(tokens[:, part], targets[:, part]) for part in (slice(0, 5), slice(5, 9), slice(9, 16))]
    torch.testing.assert_close(whole, torch.cat(alone, dim=1), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(whole, model.losses(tokens, targets), atol=1e-2)
    total = model.total_loss(tokens, targets, DOCUMENT[:1])
    assert total.item() == pytest.approx(whole.sum().item(), rel=1e-4)


@FORMS
def test_a_window_of_one_document_is_as_without_a_mask(shape: Shape) -> None:
    model, tokens = spread(shape), torch.randint(0, 256, (2, 16))
    torch.testing.assert_close(model(tokens, DOCUMENT)[1], model(tokens)[1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(model(tokens, DOCUMENT)[0], model(tokens)[0], atol=1e-2)


def test_gradients_flow_within_the_document_and_nowhere_else() -> None:
    model = spread(Shape(layers=2, heads=2, width=32, context=16, vocabulary_size=256, tied_head=False))
    tokens = torch.arange(16)[None]  # each token once, so that a row of the embedding is a position
    targets = torch.randint(0, 256, (1, 16))
    model.losses(tokens, targets, DOCUMENT[:1])[0, 5:9].sum().backward()
    norm = model.embedding.weight.grad[:16].norm(dim=1)  # type: ignore[index]
    assert (norm[5:9] > 0).all()
    assert norm[:5].max() == norm[9:].max() == 0
