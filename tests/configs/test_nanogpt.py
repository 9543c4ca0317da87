"""nanoGPT's configuration files: read, never executed; and what follows from them, by hand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg.configs import nanogpt, read_facts
from talweg.configs.nanogpt import assignments, parameters
from talweg.errors import InputError
from tests.conftest import shared


def written(folder: Path, text: str, name: str = "config.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_parameters_by_hand() -> None:
    # 50,304 x 384 + 12 (12 x 384^2 + 2 x 384) + 384 = 19,316,736 + 12 x 1,770,240 + 384
    assert parameters(12, 384, 50_304, bias=False) == 40_560_000
    # GPT-2 as published: 124,439,808 weights, of which 1,024 x 768 = 786,432 are positions
    assert parameters(12, 768, 50_257, bias=True) == 124_439_808 - 786_432
    # nanoGPT's own default, which it prints as 123.59M: 50,304 x 768 + 12 x 7,079,424 + 768
    assert parameters(12, 768, 50_304, bias=False) == 38_633_472 + 84_953_088 + 768
    # a run whose log says "108,544 decayed, 320 others": 108,864 less 64 positions of 64
    assert parameters(2, 64, 96, bias=False) == 108_864 - 64 * 64


def test_literals_arithmetic_and_earlier_names() -> None:
    source = "a = 5 * 8\nb = 2**10\nc = 1e-3\nd = a * b // 2\ne = -c\nf: int = 7\n"
    source += "g = h = 'text'\ni = (1 + 2) * 3 % 4\nj = True"
    values, ignored = assignments(source)
    assert values == {
        **{"a": 40, "b": 1024, "c": 1e-3, "d": 20480, "e": -1e-3},
        **{"f": 7, "g": "text", "h": "text", "i": 1, "j": True},
    }
    assert ignored == []


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').getpid()",
        "[x for x in range(3)]",
        "unknown * 2",
        "open('x')",
        "f'{1}'",
        "1 / 0",
        "10 ** 10 ** 10",
        "lambda: 1",
        "'a' * 5",
        "max(1, 2)",
        "9 ** 9 ** 9 ** 9",
        "(1e308 * 10) ** 60",
        "2 ** -1e9",
        "(-8) ** 0.5",
    ],
)
def test_what_is_not_plain_is_ignored_and_told(expression: str) -> None:
    values, ignored = assignments(f"batch_size = 4\nx = {expression}\nn_layer = 2\n")
    assert {"batch_size", "n_layer"} <= set(values)
    assert "x" not in values or values["x"] == float("inf")
    assert len(ignored) == ("x" not in values)


def test_numbers_that_grow_line_by_line_do_not_hang_it() -> None:
    values, ignored = assignments("a = 2**64\n" + "a = a * a\n" * 60)
    assert values == {}
    assert ignored


def test_nothing_is_executed(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    path = written(tmp_path, f"import os\nbatch_size = 4\nopen({str(trap)!r}, 'w')\nos.mkdir({str(trap)!r})\n")
    assert read_facts(path).micro_batch == 4
    assert not trap.exists()


def test_a_name_whose_new_value_is_not_understood_loses_its_old_one() -> None:
    assert assignments("n_layer = 12\nn_layer = compute()\n")[0] == {}


def test_arguments_of_a_command_line(tmp_path: Path) -> None:
    line = "$ torchrun --standalone train.py config/x.py --batch_size=32 --dtype='float16' --n_layer=6 --dataset=owt\n"
    facts = read_facts(written(tmp_path, line, "command.txt"))
    assert (facts.micro_batch, facts.precision, facts.layers, facts.dataset) == (32, "fp16", 6, "owt")


def test_a_file_that_is_no_python_as_a_whole_is_read_line_by_line(tmp_path: Path) -> None:
    facts = read_facts(written(tmp_path, "n_layer = 6  # deep\n[rank1] oops\n  n_head = 6\nlearning_rate = 1e-3\n"))
    assert (facts.layers, facts.heads, facts.peak_learning_rate) == (6, 6, 1e-3)


def test_the_seed_configuration_alone_states_only_what_it_says() -> None:
    facts = read_facts(shared("data/curves/seed_run/train_fineweb.config.txt"))
    assert (facts.tokens_per_step, facts.eval_windows, facts.planned_steps) == (524_288, 3200, 20_000)
    assert (facts.parameters, facts.vocabulary_size, facts.beta1) == (None, None, None)
    assert facts.schedule == "cosine"


def test_defaults_fill_last_and_say_so() -> None:
    stated = {"n_layer": nanogpt.Setting(6, "c.py")}
    facts = nanogpt.facts(nanogpt.over(stated, nanogpt.defaults(stated)))
    assert (facts.layers, facts.heads, facts.width, facts.context, facts.micro_batch, facts.accumulation) == (
        6,
        12,
        768,
        1024,
        12,
        40,
    )
    assert (facts.peak_learning_rate, facts.min_learning_rate, facts.warmup_steps) == (6e-4, 6e-5, 2000)
    assert (facts.planned_steps, facts.decay_end_step, facts.weight_decay) == (600_000, 600_000, 0.1)
    assert (facts.beta1, facts.beta2, facts.grad_clip, facts.dropout, facts.bias) == (0.9, 0.95, 1.0, 0.0, False)
    assert (facts.eval_windows, facts.schedule, facts.optimizer, facts.vocabulary_size) == (
        2400,
        "cosine",
        "adamw",
        50_304,
    )
    assert facts.tokens_per_step == 491_520
    assert (facts.sources["layers"], facts.sources["heads"]) == ("c.py", "nanoGPT's default")
    assert facts.sources["precision"] == "nanoGPT's default where the device supports it"


@pytest.mark.parametrize(
    ("start", "layers", "millions"), [("gpt2", 12, 123.65), ("gpt2-medium", 24, 353.77), ("gpt2-xl", 48, 1555.97)]
)
def test_shapes_of_the_published_models(start: str, layers: int, millions: float) -> None:
    stated = {"init_from": nanogpt.Setting(start, "c.py")}
    facts = nanogpt.facts(nanogpt.over(stated, nanogpt.defaults(stated)))
    assert facts.layers == layers
    assert facts.parameters == pytest.approx(millions * 1e6, abs=5_000)  # as from_pretrained prints them


@pytest.mark.parametrize("value", ["'twelve'", "None", "True", "[1]"])
def test_values_of_the_wrong_kind_are_no_facts(tmp_path: Path, value: str) -> None:
    assert read_facts(written(tmp_path, f"n_layer = {value}\nn_head = 4\n")).layers is None


@pytest.mark.parametrize("text", ["", "hello world\n", "x = 1\ny = 2\n", "def f():\n    pass\n", "import os\n"])
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"no configuration|is empty"):
        read_facts(written(tmp_path, text))


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    assignments(text)
    nanogpt.sniff(Path("x"), text)
