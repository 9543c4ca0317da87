"""torch.compile takes the training loss as one graph, and its value stays. Traced only: no C++ compiler is asked."""

import warnings

import pytest
import torch

from talweg.model.gpt import GPT
from talweg.model.shape import PRESETS, Shape

MODERN = Shape(1, 2, 16, 16, 64, value_residual=True, x0_shortcut=True, logit_softcap=15.0, kv_heads=1)
FORMS = {"modern": MODERN, "nanogpt": Shape(1, 2, 16, 16, 64, **PRESETS["nanogpt"])}


@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("shape", FORMS.values(), ids=FORMS.keys())
def test_the_loss_is_one_graph_with_the_same_value_and_gradients(shape: Shape, bf16: bool) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, tokens = GPT(shape), torch.randint(0, 64, (2, 17))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        torch.compiler.reset()
        for f in (model.total_loss, torch.compile(model.total_loss, backend="aot_eager", fullgraph=True)):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = f(tokens[:, :-1], tokens[:, 1:])
            found.append([loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))])
    for plain, compiled in zip(*found, strict=True):
        assert ((plain - compiled).norm() / plain.norm()).item() < (0.02 if bf16 else 1e-5)
