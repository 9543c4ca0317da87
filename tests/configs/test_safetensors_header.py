"""The header of safetensors: shapes counted, damage told."""

import json
from pathlib import Path

import numpy as np
import pytest

from talweg.configs import kind_of, read_facts, safetensors_header
from talweg.errors import InputError

SHAPES = {"transformer.wte.weight": [100, 8], "transformer.wpe.weight": [16, 8], "transformer.h.0.mlp.weight": [8, 8]}


def stored(path: Path, shapes: dict[str, list[int]]) -> Path:
    header = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    raw = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + b"\0" * 64)
    return path


def test_parameters_are_counted_without_positions(tmp_path: Path) -> None:
    path = stored(tmp_path / "model.safetensors", SHAPES)
    assert kind_of(path).NAME == "safetensors_header"
    facts = read_facts(path)
    assert (facts.parameters, facts.vocabulary_size, facts.width, facts.context) == (864, 100, 8, 16)


def test_a_model_in_several_files(tmp_path: Path) -> None:
    first = stored(tmp_path / "model-00001-of-00002.safetensors", SHAPES)
    with pytest.raises(InputError, match=r"one of 2 files of a model, and model-00002-of-00002\.safetensors is not"):
        read_facts(first)
    second = stored(tmp_path / "model-00002-of-00002.safetensors", {"transformer.h.1.mlp.weight": [8, 8]})
    assert read_facts(first).parameters == read_facts(second).parameters == 928
    assert read_facts(first).layers == 2


@pytest.mark.parametrize("cut", [10, 60])
def test_a_header_that_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = stored(tmp_path / "model.safetensors", SHAPES)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="is damaged: its header"):
        safetensors_header.read(path)


@pytest.mark.parametrize("header", ["[]", '{"a": 1}', '{"a": {"shape": [-1], "dtype": "F32"}}', '{"a": {"shape": 1}}'])
def test_a_header_of_something_else(tmp_path: Path, header: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(InputError, match="is damaged"):
        safetensors_header.read(path)


def test_as_safetensors_writes_it(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    arrays = {"a": np.zeros((3, 5), dtype=np.float32), "h.0.attn.bias": np.zeros((1, 1, 4, 4), dtype=np.float32)}
    library.save_file({**arrays, "ids": np.zeros(4, dtype=np.int64)}, tmp_path / "model.safetensors")
    assert read_facts(tmp_path / "model.safetensors").parameters == 15
