"""Which path is what, whose tokenizer is used, and that a tokenizer goes out as HF's own reads it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from talweg.cli import main
from talweg.corpus.tokenizer import Tokenizer, from_file, raw_bytes, trained
from talweg.errors import InputError
from talweg.train.config import Config
from talweg.train.exchange import export_model, open_model
from talweg.train.loop import train
from tests.train.exchange.models import CLASSIC, logits, ours, saved

Make = Callable[..., Config]
TEXT = "The café's 3 rivers,  and\n\tdef f(x): the rivers of the café — 東京"
CORPUS = ["the café of the rivers, the rivers of the café, and the river"] * 9


def llama_words(folder: Path) -> Tokenizer:
    """A tokenizer of another kind than ours, with tokens of its own for the ends of a text."""
    from tokenizers import Tokenizer as HuggingFaceTokenizer
    from tokenizers import models, pre_tokenizers, trainers

    made = HuggingFaceTokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=60, special_tokens=["<unk>", "<s>", "</s>"]))
    made.save(str(folder / "other.json"))
    return from_file(folder / "other.json")


@pytest.mark.parametrize("kind", ["bytes", "bpe", "other"])
def test_the_tokenizer_goes_out_as_transformers_reads_it(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    words = {"bytes": raw_bytes, "bpe": lambda: trained(CORPUS, 300), "other": lambda: llama_words(tmp_path)}[kind]()
    folder = saved(ours(vocabulary_size=320), tmp_path / "run").parent.parent
    words.save(folder)
    done = export_model(folder, tmp_path / "hf", to="hf")
    files = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    assert done.files == files
    assert done.notes == ()
    there = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf", local_files_only=True)
    assert there(TEXT, add_special_tokens=False).input_ids == words.encode(TEXT).tolist()
    assert there.eos_token_id == words.separator_id
    assert there.model_max_length == 24
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["eos_token_id"] == words.separator_id
    assert open_model(tmp_path / "hf").words().sha256 == words.sha256


def test_a_separator_without_a_text_is_told(tmp_path: Path) -> None:
    words = llama_words(tmp_path)
    content = json.loads((tmp_path / "other.json").read_text())
    for name in ("<s>", "</s>", "<unk>"):
        del content["model"]["vocab"][name]
    content["added_tokens"], content["model"]["unk_token"] = [], None
    folder = saved(ours(), tmp_path / "run").parent.parent
    (folder / "tokenizer.json").write_text(json.dumps(content))
    done = export_model(folder, tmp_path / "hf", to="hf")
    assert done.notes == (f"the separator, token {words.vocabulary_size}, is not in tokenizer.json: it has no text",)
    assert "eos_token_id" not in json.loads((tmp_path / "hf" / "config.json").read_text())


def test_a_path_is_what_lies_there(configured: Make, tmp_path: Path) -> None:
    config = configured(run__name="a", run__steps=2, evaluation__every=2)
    list(train(config))
    run = tmp_path / "a"
    checkpoint = run / "checkpoints" / "step_00000002"
    loaded = open_model(run)
    assert loaded.source == f"talweg {checkpoint}, step 2"
    assert loaded.data == config.data.path
    assert loaded.words().name == "bytes"
    assert not loaded.model.training
    for path in (checkpoint, checkpoint / "model.safetensors"):
        assert torch.equal(logits(open_model(path).model), logits(loaded.model))
    (run / "tokenizer.json").unlink()  # the data folder has it too
    assert open_model(run).words().name == "bytes"
    export_model(run, tmp_path / "hf", to="hf")
    for path in (tmp_path / "hf", tmp_path / "hf" / "model.safetensors"):
        assert torch.equal(logits(open_model(path).model), logits(loaded.model))


def test_a_tokenizer_is_asked_for_where_none_is_known(tmp_path: Path) -> None:
    export_model(saved(ours(**CLASSIC), tmp_path / "run"), tmp_path / "n", to="nanogpt")
    with pytest.raises(InputError, match=r"does not say which tokenizer it was trained with; give --tokenizer gpt2"):
        open_model(tmp_path / "n").words()
    with pytest.raises(InputError, match="has a vocabulary of 70, and the tokenizer bytes has 257 tokens"):
        open_model(tmp_path / "n", tokenizer="bytes").words()
    large = saved(ours(**{**CLASSIC, "vocabulary_size": 257}), tmp_path / "large")
    assert open_model(large, tokenizer="bytes").words().name == "bytes"


def test_what_is_no_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(InputError, match="holds no model; needed a run folder or a checkpoint of talweg"):
            open_model(path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match="holds no checkpoint"):
        open_model(tmp_path)


def test_a_model_is_not_written_as_tokens_nor_over_files(tmp_path: Path) -> None:
    folder = saved(ours(), tmp_path / "run")
    with pytest.raises(InputError, match="is a model, which is not written as llmc; give --to hf or --to nanogpt"):
        export_model(folder, tmp_path / "out", to="llmc")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(InputError, match=r"out holds other files \(mine.txt\)"):
        export_model(folder, tmp_path / "out", to="hf")
    done = export_model(folder, tmp_path / "hf", to="hf")
    assert done.notes == ("no tokenizer was written, as none is known for this model; give --tokenizer",)
    assert "tokenizer.json" not in done.files


def test_text_is_written_by_any_of_them(configured: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(run__name="a", run__steps=2, evaluation__every=2, model__preset="nanogpt", model__dropout=0.0)
    list(train(config))
    words = ["--tokens", "8", "--temperature", "0", "--device", "cpu", "--prompt", "the"]
    assert main(["sample", str(tmp_path / "a"), *words]) == 0
    expected = capsys.readouterr().out
    export_model(tmp_path / "a", tmp_path / "h", to="hf")
    export_model(tmp_path / "a", tmp_path / "n", to="nanogpt")
    assert main(["sample", str(tmp_path / "h"), *words]) == 0
    assert main(["sample", str(tmp_path / "n" / "ckpt.pt"), *words, "--tokenizer", "bytes"]) == 0
    assert capsys.readouterr().out == 2 * expected
    assert main(["sample", str(tmp_path / "n" / "ckpt.pt"), *words]) == 2
    assert "does not say which tokenizer" in capsys.readouterr().err
