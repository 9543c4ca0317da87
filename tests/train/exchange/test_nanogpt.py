"""nanoGPT's ckpt.pt in both directions; the reference is GPT-2 of transformers, with exact GELU, transposed."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from talweg.errors import InputError
from talweg.train.exchange.opening import open_model
from talweg.train.exchange.outgoing import export_model
from tests.train.exchange.models import CLASSIC, logits, ours, randomised, saved, tokens

CLOSE = 1e-4
TRANSPOSED = re.compile(r".*(c_attn|c_proj|c_fc)\.weight")
ARGUMENTS = {"n_layer": 2, "n_head": 4, "n_embd": 32, "block_size": 24, "vocab_size": 70, "bias": True, "dropout": 0.0}


def reference(bias: bool = True, untied: bool = False) -> Any:
    """The same function as a model of nanoGPT, made by somebody else."""
    transformers = pytest.importorskip("transformers")
    sizes = {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": 24, "vocab_size": 70}
    config = transformers.GPT2Config(
        **sizes, activation_function="gelu", bos_token_id=0, eos_token_id=0, tie_word_embeddings=not untied
    )
    model = randomised(transformers.GPT2LMHeadModel(config))
    if not bias:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith(".bias"):
                    parameter.zero_()
    return model


def state_dict(model: Any, bias: bool = True) -> dict[str, Tensor]:
    """Its weights as nanoGPT keeps them."""
    return {
        name: tensor.t().contiguous() if TRANSPOSED.fullmatch(name) else tensor.clone()
        for name, tensor in model.state_dict().items()
        if bias or not name.endswith(".bias")
    }


def content(model: dict[str, Tensor], **arguments: Any) -> dict[str, Any]:
    """The whole of a checkpoint that train.py writes."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))])
    return {
        "model": model,
        "optimizer": optimizer.state_dict(),
        "model_args": {**ARGUMENTS, **arguments},
        "iter_num": 2000,
        "best_val_loss": torch.tensor(3.25),
        "config": {
            "dataset": "openwebtext",
            "learning_rate": 6e-4,
            "compile": True,
            "decay_lr": True,
            "out_dir": "out",
        },
    }


def written(path: Path, **changes: Any) -> Path:
    torch.save({**content(state_dict(reference())), **changes}, path)
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_model(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("bias", [True, False])
def test_a_checkpoint_has_the_logits_of_the_reference(prefix: str, bias: bool, tmp_path: Path) -> None:
    model = reference(bias)
    weights = {prefix + name: tensor for name, tensor in state_dict(model, bias).items()}
    weights[f"{prefix}transformer.h.0.attn.bias"] = torch.ones(1, 1, 24, 24).tril()  # the mask of older versions
    torch.save(content(weights, bias=bias), tmp_path / "ckpt.pt")
    loaded = open_model(tmp_path / "ckpt.pt")
    with torch.no_grad():
        expected = model(tokens(loaded.model)).logits
    assert expected.abs().max() > 1
    assert (logits(loaded.model) - expected).abs().max() < CLOSE
    assert loaded.model.shape.bias is bias
    assert loaded.model.shape.tied_head
    assert loaded.facts == {"step": 2000, "val_loss": 3.25}
    assert loaded.source == f"nanoGPT {tmp_path / 'ckpt.pt'}, step 2,000"
    assert torch.equal(logits(open_model(tmp_path).model), logits(loaded.model))  # the folder it lies in


def test_a_head_of_its_own_is_kept(tmp_path: Path) -> None:
    model = reference(untied=True)
    torch.save(content(state_dict(model)), tmp_path / "ckpt.pt")
    loaded = open_model(tmp_path / "ckpt.pt").model
    with torch.no_grad():
        assert (logits(loaded) - model(tokens(loaded)).logits).abs().max() < CLOSE
    assert not loaded.shape.tied_head


class Payload:
    """A pickle that would run a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    inside = written(tmp_path / "ckpt.pt", config=Payload(mark))
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Payload(mark), protocol=2))
    for path in (inside, plain):
        assert re.search(r"asks to call \w+\.system when it is loaded, and code of a file is never run", refused(path))
    assert not mark.exists()
    torch.load(inside, weights_only=False)  # the test itself: it would have been run
    assert mark.exists()


def test_a_flipped_byte_is_found_anywhere(tmp_path: Path) -> None:
    path = written(tmp_path / "ckpt.pt")
    whole = path.read_bytes()
    expected = logits(open_model(path).model)
    said = list[str]()
    for place in range(40, len(whole), len(whole) // 60):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        try:
            found = open_model(path).model
        except InputError as error:
            said.append(str(error))
        else:
            assert torch.equal(logits(found), expected), place  # a byte that means nothing, such as padding
    assert len(said) > 45
    assert all(re.search("is damaged|cut off, damaged|lacks|no checkpoint", line) and "\n" not in line for line in said)


def test_a_cut_file_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "ckpt.pt")
    whole = path.read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "is cut off, damaged, or no file that torch.save wrote" in refused(path)
    path.unlink()
    assert "is not there; needed a run folder" in refused(path)


def test_a_checkpoint_of_something_else_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    weights = state_dict(reference())
    torch.save(weights, path)
    assert "is no checkpoint of nanoGPT: needed model and model_args, and it holds transformer" in refused(path)
    torch.save([1, 2], path)
    assert "and no dictionary" in refused(path)
    for changes, line in (
        ({"n_layer": 3}, "lacks the weight transformer.h.2.ln_1.weight"),
        ({"n_layer": 10**6}, "model_args promises 1000000 layers"),
        (
            {"n_layer": 1},
            "holds transformer.h.1.attn.c_attn.bias and 11 more",
        ),
        ({"use_relu": True}, "model_args has use_relu = True, which nanoGPT does not have"),
        ({"n_head": 5}, "n_embd = 32 is not a multiple of n_head = 5"),
        ({"n_head": "four"}, "ckpt.pt has n_head = 'four'; needed a whole number"),
        ({"block_size": 25}, "transformer.wpe.weight is 24 x 32, and its configuration makes it 25 x 32"),
        ({"vocab_size": None}, "ckpt.pt has vocab_size = None"),
    ):
        torch.save(content(weights, **changes), path)
        assert line in refused(path)
    del weights["transformer.h.1.mlp.c_fc.weight"]
    torch.save(content(weights), path)
    assert "lacks the weight transformer.h.1.mlp.c_fc.weight" in refused(path)
    torch.save({**content(weights), "model": {"a": 1}}, path)
    assert "a is no tensor" in refused(path)
    torch.save({**content(weights), "model_args": 3}, path)
    assert "model_args is no dictionary" in refused(path)
    weights = {name: (100 * tensor).to(torch.int8) for name, tensor in state_dict(reference()).items()}
    torch.save(content(weights), path)
    assert "is of torch.int8; needed weights that are not quantised" in refused(path)


@pytest.mark.parametrize("bias", [True, False])
def test_what_is_exported_is_the_same_function_by_nanogpts_names(bias: bool, tmp_path: Path) -> None:
    model = ours(**{**CLASSIC, "bias": bias})
    done = export_model(saved(model, tmp_path / "run"), tmp_path / "out", to="nanogpt")
    assert done.files == ("ckpt.pt",)
    held = torch.load(tmp_path / "out" / "ckpt.pt", weights_only=True)
    assert held["model_args"] == {**ARGUMENTS, "bias": bias}
    assert held["iter_num"] == 7
    assert held["model"]["lm_head.weight"].data_ptr() == held["model"]["transformer.wte.weight"].data_ptr()
    there = reference(bias)
    transposed = {name: tensor.t() if TRANSPOSED.fullmatch(name) else tensor for name, tensor in held["model"].items()}
    told = there.load_state_dict(transposed, strict=False)
    assert not told.unexpected_keys
    assert all(name.endswith(".bias") and not bias for name in told.missing_keys)
    with torch.no_grad():
        assert (there(tokens(model)).logits - logits(model)).abs().max() < CLOSE
    again = open_model(tmp_path / "out").model
    assert all(torch.equal(again.get_parameter(name), value) for name, value in model.named_parameters())


def test_the_exported_optimizer_loads_into_adamw_in_nanogpts_groups(tmp_path: Path) -> None:
    export_model(saved(ours(**CLASSIC), tmp_path / "run"), tmp_path / "out", to="nanogpt")
    held = torch.load(tmp_path / "out" / "ckpt.pt", weights_only=True)
    parameters = {name: p for name, p in held["model"].items() if name != "lm_head.weight"}  # tied: counted once
    groups = [
        {"params": [p for p in parameters.values() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in parameters.values() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    optimizer.load_state_dict(held["optimizer"])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert not optimizer.state


def test_what_nanogpt_does_not_have_is_refused_by_name(tmp_path: Path) -> None:
    modern = saved(ours(logit_softcap=15.0), tmp_path / "modern")
    with pytest.raises(InputError, match=r"nanoGPT's ckpt\.pt has no place for") as caught:
        export_model(modern, tmp_path / "out", to="nanogpt")
    for option in ("norm = rmsnorm", "positions = rope", "activation = relu2", "qk_norm = true", "logit_softcap = 15"):
        assert f"model.{option}" in str(caught.value)
    close = ours(**{**CLASSIC, "activation": "gelu_tanh", "tied_head": False, "norm_epsilon": 1e-6})
    with pytest.raises(InputError, match=r"tied_head = false, model.norm_epsilon = 1e-06, .*gelu_tanh \(nanoGPT"):
        export_model(saved(close, tmp_path / "close"), tmp_path / "out", to="nanogpt")
    assert not (tmp_path / "out").exists()
