"""Reading token by token gives the logits of the whole forward pass, for every option of the model."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from talweg.model.gpt import GPT
from talweg.model.inference import Reader
from talweg.model.shape import Shape

SHAPE = Shape(layers=3, heads=4, width=32, context=16, vocabulary_size=64)
OPTIONS: dict[str, dict[str, Any]] = {
    "modern": {},
    "learned positions": {"positions": "learned", "norm": "layernorm", "qk_norm": False, "bias": True},
    "shared keys": {"kv_heads": 2},
    "one head of keys": {"kv_heads": 1, "positions": "learned"},
    "value residual": {"value_residual": True, "kv_heads": 2},
    "x0 shortcut": {"x0_shortcut": True},
    "softcap": {"logit_softcap": 2.0},
    "llama": {"activation": "swiglu", "norm_gain": True, "qk_norm": False, "rope_base": 500.0, "kv_heads": 2},
}
FORMS = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def spread(options: dict[str, Any]) -> GPT:
    """A model whose weights are large enough for a difference to show."""
    model = GPT(replace(SHAPE, **options)).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model


def whole(model: GPT, tokens: Tensor) -> Tensor:
    """The logits after the last token of one forward pass."""
    with torch.no_grad():
        return model(tokens)[:, -1]


@FORMS
@pytest.mark.parametrize("parts", [[1] * 16, [5] + [1] * 11, [1, 4, 2, 9], [16]])
def test_in_any_parts_the_logits_are_those_of_the_whole(options: dict[str, Any], parts: list[int]) -> None:
    model, tokens, end = spread(options), torch.randint(0, 64, (2, 16)), 0
    reader = Reader(model, texts=2)
    for part in parts:
        logits = reader.read(tokens[:, end : end + part])
        end += part
        torch.testing.assert_close(logits, whole(model, tokens[:, :end]), rtol=1e-4, atol=1e-4)


@FORMS
def test_a_full_window_is_read_again_from_its_last_half(options: dict[str, Any]) -> None:
    model, tokens = spread(options), torch.randint(0, 64, (1, 40))
    reader = Reader(model)
    begin = 0
    for t in range(40):
        if t + 1 - begin > 16:
            begin = t + 1 - 8
        logits = reader.read(tokens[:, t : t + 1])
        torch.testing.assert_close(logits, whole(model, tokens[:, begin : t + 1]), rtol=1e-4, atol=1e-4)
    assert begin == 27  # it was full at 17, 26 and 35 tokens: eight are kept, the newest among them


def test_of_a_prompt_longer_than_the_context_the_last_tokens_are_read() -> None:
    model, tokens = spread({}), torch.randint(0, 64, (1, 40))
    reader = Reader(model)
    torch.testing.assert_close(reader.read(tokens[:, :30]), whole(model, tokens[:, 14:30]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(reader.read(tokens[:, 30:31]), whole(model, tokens[:, 23:31]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(reader.read(tokens[:, 31:]), whole(model, tokens[:, 23:][:, -9:]), rtol=1e-4, atol=1e-4)


def test_a_context_of_one_token() -> None:
    model = spread({"context": 1})
    reader = Reader(model)
    for token in (3, 9, 9):
        torch.testing.assert_close(reader.read(torch.tensor([[token]])), whole(model, torch.tensor([[token]])))
