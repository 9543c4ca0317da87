"""The configuration beside a log: found where it is the run's, told, and never that of another run."""

import io
import json
import pickle
import sys
import time
import zipfile
from pathlib import Path

import pytest

from talweg.configs import beside
from talweg.readers import read
from talweg.run import FACT_NAMES, Facts
from talweg.settings import nearby
from tests.configs.test_trainers import LITGPT
from tests.conftest import shared

NANOGPT = "".join(f"iter {step}: loss {4 - step / 1000:.4f}, time 10.00ms, mfu 1.00%\n" for step in range(0, 400, 10))
CONFIG = "batch_size = 16\ngradient_accumulation_steps = 32\nblock_size = 64\nn_layer = 2\nn_head = 2\nn_embd = 64\n"
CONFIG += "max_iters = 1000\nlr_decay_iters = 1000\nlearning_rate = 1e-3\n"
TABLE = "step,train_loss,val_loss,lr\n" + "".join(
    f"{step},{4 - step / 1000:.4f},,0.001\n" for step in range(0, 400, 10)
)
TABLE += "400,3.6000,3.7000,0.001\n"
YAML = "lr: 0.001\nmax_steps: 1000\nn_layer: 4\nd_model: 64\nseq_len: 128\n"


def put(folder: Path, **files: str) -> Path:
    """Files by name, with __ for a slash and _dot_ for a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def names(path: Path) -> list[str]:
    return [Path(name).name for name in read(path).reading.configurations]


def stated(facts: Facts) -> set[str]:
    return {name for name in FACT_NAMES if getattr(facts, name) is not None}


# ---------------------------------------------------------------- nanoGPT


def test_the_seed_runs_configuration_is_found_and_says_what_it_says_when_it_is_given() -> None:
    folder = shared("data/curves/seed_run")
    found, given = read(folder / "train.log"), read(folder / "train.log", config=folder / "train_fineweb.config.txt")
    assert found.facts == given.facts
    assert found.facts.tokens_per_step == 524_288
    assert found.facts.sources["dropout"] == "train_fineweb.config.txt"
    assert found.reading.notes == ("configuration taken from train_fineweb.config.txt beside the log",)
    assert [Path(path).name for path in found.reading.configurations] == ["train_fineweb.config.txt"]
    assert given.reading.configurations == ()


def test_the_seed_runs_log_alone_states_nothing(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_bytes(shared("data/curves/seed_run/train.log").read_bytes())
    run = read(log)
    assert stated(run.facts) == set()
    assert (run.reading.configurations, run.reading.notes) == ((), ())


def test_what_the_log_echoes_is_the_whole_configuration(tmp_path: Path) -> None:
    put(tmp_path, train_dot_log="Overriding: n_embd = 32\n" + NANOGPT, config_dot_py=CONFIG)
    run = read(tmp_path / "train.log")
    assert (run.facts.width, run.facts.layers) == (32, 12)
    assert run.reading.configurations == ()


def test_an_edited_train_py_says_what_the_defaults_are(tmp_path: Path) -> None:
    train = (
        "import os\nbatch_size = 7\nn_layer = 3\nblock_size = 32\nwarmup_iters = 5\neval_iters = 9\nx = os.getcwd()\n"
    )
    put(tmp_path, train_dot_log="Overriding: n_layer = 4\n" + NANOGPT, train_dot_py=train)
    run = read(tmp_path / "train.log")
    assert (run.facts.layers, run.facts.micro_batch, run.facts.context, run.facts.heads) == (4, 7, 32, 12)
    assert run.facts.sources["micro_batch"] == "train.py"
    assert names(tmp_path / "train.log") == ["train.py"]
    put(tmp_path, train_dot_log=NANOGPT)  # was a configuration named, or an argument given? Nobody knows
    assert stated(read(tmp_path / "train.log").facts) == set()
    put(tmp_path, train_dot_log=NANOGPT, train_small_dot_py=CONFIG)
    run = read(tmp_path / "train.log")
    assert (run.facts.layers, run.facts.warmup_steps) == (2, 5)


def test_several_that_disagree_are_told_and_not_used(tmp_path: Path) -> None:
    put(tmp_path, train_dot_log=NANOGPT, config__a_dot_py=CONFIG, config__b_dot_py=CONFIG.replace("1e-3", "2e-3"))
    run = read(tmp_path / "train.log")
    assert stated(run.facts) == set()
    assert run.reading.notes == (
        "a.py, b.py beside the log disagree on peak learning rate, so none was used; give the right one with --config",
    )


def test_the_folder_that_is_saved_to_tells_them_apart(tmp_path: Path) -> None:
    log = NANOGPT + "saving checkpoint to out-b\n"
    a, b = "out_dir = 'out-a'\n" + CONFIG, "out_dir = 'out-b'\n" + CONFIG.replace("1e-3", "2e-3")
    put(tmp_path, train_dot_log=log, config__a_dot_py=a, config__b_dot_py=b)
    run = read(tmp_path / "train.log")
    assert run.facts.peak_learning_rate == 2e-3
    assert any(
        "a.py beside the log is not of this run and was left out: it saves to out-a" in n for n in run.reading.notes
    )


def test_the_command_beside_the_log_names_its_configuration(tmp_path: Path) -> None:
    put(tmp_path, train_dot_log=NANOGPT, config__a_dot_py=CONFIG, config__b_dot_py=CONFIG.replace("1e-3", "2e-3"))
    put(tmp_path, run_dot_sh="#!/bin/sh\npython train.py config/b.py --batch_size=8 --n_layer=3\n")
    run = read(tmp_path / "train.log")
    assert (run.facts.peak_learning_rate, run.facts.micro_batch, run.facts.layers) == (2e-3, 8, 3)
    assert run.facts.tokens_per_step == 8 * 32 * 64
    assert run.facts.sources["micro_batch"] == "run.sh"


def test_a_command_in_the_log(tmp_path: Path) -> None:
    command = "+ python train.py --batch_size=8 --n_layer=3\n"
    put(tmp_path, train_dot_log=command + NANOGPT, config_dot_py=CONFIG)
    facts = read(tmp_path / "train.log").facts
    assert (facts.micro_batch, facts.layers, facts.heads) == (8, 3, 2)
    assert facts.sources["micro_batch"] == "the command line in the log"


@pytest.mark.parametrize(
    ("line", "change", "why"),
    [
        ("", ("max_iters = 1000", "max_iters = 100"), "it plans 100 steps, the log goes to 390"),
        ("tokens per iteration will be: 1,024\n", ("", ""), "it states 32,768 tokens per step, the log 1,024"),
    ],
)
def test_a_configuration_that_contradicts_the_log_is_refused(
    tmp_path: Path, line: str, change: tuple[str, str], why: str
) -> None:
    put(tmp_path, train_dot_log=line + NANOGPT, config_dot_py=CONFIG.replace(*change))
    run = read(tmp_path / "train.log")
    assert run.facts.layers is None
    assert run.reading.notes == (f"config.py beside the log is not of this run and was left out: {why}",)


def test_a_given_configuration_leaves_its_kind_alone(tmp_path: Path) -> None:
    put(tmp_path, train_dot_log=NANOGPT, config_dot_py=CONFIG, other__mine_dot_py=CONFIG.replace("1e-3", "5e-3"))
    run = read(tmp_path / "train.log", config=tmp_path / "other/mine.py")
    assert run.facts.peak_learning_rate == 5e-3
    assert (run.facts.conflicts, run.reading.configurations) == ({}, ())


def checkpoint(path: Path, **settings: object) -> None:
    """As torch stores one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    config = {
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 64,
        "block_size": 64,
        "batch_size": 16,
        "max_iters": 1000,
        **settings,
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"config": config, "iter_num": 390}))
        archive.writestr("archive/version", b"3\n")


def test_a_checkpoint_beside_the_log(tmp_path: Path) -> None:
    put(tmp_path, train_dot_log=NANOGPT)
    checkpoint(tmp_path / "out-a/ckpt.pt", learning_rate=1e-3)
    run = read(tmp_path / "train.log")
    assert (run.facts.layers, run.facts.peak_learning_rate, run.facts.beta1) == (2, 1e-3, 0.9)
    assert run.facts.sources["peak_learning_rate"] == "the settings in ckpt.pt"
    assert run.reading.notes == ("configuration taken from out-a/ckpt.pt beside the log",)
    checkpoint(tmp_path / "out-b/ckpt.pt", learning_rate=2e-3)
    run = read(tmp_path / "train.log")
    assert (run.facts.layers, len(run.reading.notes)) == (None, 1)
    assert "disagree on peak learning rate" in run.reading.notes[0]


def test_a_file_that_a_command_names_may_lie_further_off(tmp_path: Path) -> None:
    put(tmp_path, metrics_dot_csv=TABLE, launch_dot_sh="python train.py --config exp/set/a.yaml\n")
    put(tmp_path, exp__set__a_dot_yaml=YAML, exp__set__b_dot_yaml=YAML.replace("4", "8"))
    assert names(tmp_path / "metrics.csv") == ["a.yaml"]


# ---------------------------------------------------------------- any other log


def test_the_longest_that_a_model_could_take_makes_no_tokens_per_step(tmp_path: Path) -> None:
    model = {"model_type": "gpt2", "architectures": ["X"], "n_layer": 2, "n_head": 2, "n_embd": 64, "n_positions": 1024}
    put(tmp_path, metrics_dot_csv=TABLE, config_dot_json=json.dumps(model))
    put(tmp_path, args_dot_yaml="micro_batch_size: 2\ngradient_accumulation_steps: 8\nworld_size: 1\nlr: 0.001\n")
    run = read(tmp_path / "metrics.csv")
    assert (run.facts.layers, run.facts.accumulation, run.facts.tokens_per_step) == (2, 8, None)


def test_a_table_and_its_configuration(tmp_path: Path) -> None:
    put(tmp_path, metrics_dot_csv=TABLE, config_dot_yaml=YAML)
    run = read(tmp_path / "metrics.csv")
    assert (run.facts.layers, run.facts.width, run.facts.context, run.facts.planned_steps) == (4, 64, 128, 1000)
    assert run.facts.sources["layers"] == "config.yaml"
    assert run.reading.notes[-1] == "configuration taken from config.yaml beside the log"
    assert run.reading.configurations == (str(tmp_path / "config.yaml"),)


@pytest.mark.parametrize(
    ("log", "config"),
    [
        ("lightning_logs/version_0/metrics.csv", "lightning_logs/version_0/hparams.yaml"),
        ("logs/metrics.csv", "config.yaml"),
        ("logs/version_0/metrics.csv", "config.yaml"),
        ("metrics.csv", "wandb/run-20260101_000000-abc/files/config.yaml"),
        ("wandb/run-20260101_000000-abc/files/metrics.csv", "wandb/run-20260101_000000-abc/files/config.yaml"),
        ("main.csv", ".hydra/config.yaml"),
        ("metrics.csv", "checkpoint-300/args.yaml"),
        ("metrics.csv", "out/checkpoint-300/args.yaml"),
        ("checkpoint-300/metrics.csv", "args.yaml"),
    ],
)
def test_places_where_trainers_keep_it(tmp_path: Path, log: str, config: str) -> None:
    for name, text in ((log, TABLE), (config, YAML)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read(tmp_path / log).facts.layers == 4


@pytest.mark.parametrize(
    ("log", "others"),
    [
        ("version_0/metrics.csv", ("config.yaml", "version_1/metrics.csv")),  # above several runs
        ("runs/a/metrics.csv", ("runs/b/config.yaml",)),  # of a neighbour
        ("runs/a/metrics.csv", ("runs/config.yaml",)),  # a is no part of a run
        ("metrics.csv", ("wandb/run-1-a/files/config.yaml", "wandb/run-2-b/files/config.yaml")),
        ("metrics.csv", ("deep/er/config.yaml",)),
    ],
)
def test_places_of_other_runs(tmp_path: Path, log: str, others: tuple[str, ...]) -> None:
    for name, text in ((log, TABLE), *((other, YAML) for other in others)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read(tmp_path / log).facts.layers is None


def test_the_newest_checkpoint_counts(tmp_path: Path) -> None:
    old, new = YAML, YAML.replace("n_layer: 4", "n_layer: 6")
    put(tmp_path, metrics_dot_csv=TABLE)
    for name, text in (("checkpoint-90", old), ("checkpoint-300", new)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "args.yaml").write_text(text)
    assert read(tmp_path / "metrics.csv").facts.layers == 6


def test_beside_the_logs_of_several_runs_only_a_file_of_the_same_name_is_used(tmp_path: Path) -> None:
    put(tmp_path, a_dot_csv=TABLE, b_dot_csv=TABLE, config_dot_yaml=YAML)
    run = read(tmp_path / "a.csv")
    assert run.facts.layers is None
    assert run.reading.notes[-1] == (
        "2 logs lie in this folder, so config.yaml may be of another run and was not used; give it with --config if "
        "it is of this one"
    )
    put(tmp_path, run1_dot_csv=TABLE, run2_dot_csv=TABLE, run1_dot_config_dot_yaml=YAML)
    assert names(tmp_path / "run1.csv") == ["run1.config.yaml"]
    assert names(tmp_path / "run2.csv") == []


def test_a_collection_of_logs_does_not_lend_what_bears_the_name_of_one() -> None:
    folder = shared("data/curves/hf_trainer")
    assert names(folder / "jaong_cpt__trainer_state.json") == ["jaong_cpt__config.json"]
    assert names(folder / "yali__trainer_state.json") == []


def test_a_log_of_evaluations_beside_the_log_is_no_other_run(tmp_path: Path) -> None:
    put(tmp_path, train_dot_csv=TABLE, val_dot_csv=TABLE, config_dot_yaml=YAML)
    assert names(tmp_path / "train.csv") == ["config.yaml"]


def test_a_peak_below_the_logs_rates_is_of_another_run(tmp_path: Path) -> None:
    put(tmp_path, metrics_dot_csv=TABLE, config_dot_yaml=YAML.replace("0.001", "0.0001"))
    run = read(tmp_path / "metrics.csv")
    assert run.facts.layers is None
    assert "its peak learning rate is 0.0001, the log's 0.001" in run.reading.notes[-1]


def test_facts_of_several_files_make_one(tmp_path: Path) -> None:
    put(tmp_path, metrics_dot_csv=TABLE, run_dot_sh="torchrun --nproc_per_node=4 train.py --config args.yaml\n")
    put(tmp_path, args_dot_yaml="micro_batch_size: 2\ngradient_accumulation_steps: 8\nlr: 0.001\n")
    put(tmp_path, model_config_dot_yaml="n_layer: 4\nn_embd: 64\nblock_size: 128\npadded_vocab_size: 96\n")
    run = read(tmp_path / "metrics.csv")
    assert (run.facts.layers, run.facts.ranks, run.facts.accumulation) == (4, 4, 32)
    assert run.facts.tokens_per_step == 2 * 8 * 4 * 128
    for name in ("micro_batch_size 2", "gradient_accumulation_steps 8", "ranks 4", "context 128", "args.yaml"):
        assert name in run.facts.sources["tokens_per_step"]
    assert sorted(names(tmp_path / "metrics.csv")) == ["args.yaml", "model_config.yaml", "run.sh"]


def test_litgpts_table_counts_updates_by_the_yaml_beside_it(tmp_path: Path) -> None:
    """16 sequences an update in micro-batches of 8, of which the table counts 600; of another size: not this run's."""
    text = LITGPT.replace("global_batch_size: 512", "global_batch_size: 16").replace("lr: 0.0004", "lr: 0.001")
    (tmp_path / "metrics.csv").write_bytes(shared("data/formats/litgpt/metrics.csv").read_bytes())
    put(tmp_path, hyperparameters_dot_yaml=text.replace("micro_batch_size: 4", "micro_batch_size: 8"))
    run = read(tmp_path / "metrics.csv")
    assert (run.last_step, run.facts.step_unit, run.facts.accumulation) == (300, None, 2)
    put(tmp_path, hyperparameters_dot_yaml=text)
    assert read(tmp_path / "metrics.csv").facts.step_unit == "micro_batch"


def test_what_the_log_states_wins_and_the_difference_is_kept(tmp_path: Path) -> None:
    rows = [{"step": step, "train_loss": 4 - step / 100, "seed": 1} for step in range(0, 100, 10)]
    line = "INFO Namespace(seed=1, lr=0.002, weight_decay=0.3)\n"
    put(tmp_path, train_dot_log=line + "".join(f"{json.dumps(row)}\n" for row in rows))
    put(tmp_path, config_dot_yaml=YAML + "weight_decay: 0.1\n")
    facts = read(tmp_path / "train.log", format="table").facts
    assert (facts.weight_decay, facts.peak_learning_rate, facts.layers) == (0.3, 0.002, 4)
    assert facts.conflicts == {"weight_decay": "0.1 (config.yaml)", "peak_learning_rate": "0.001 (config.yaml)"}


def test_several_values_that_were_not_used_stand_side_by_side() -> None:
    a, b, c, d = (Facts.stated(name, layers=value) for name, value in (("a", 1), ("b", 2), ("c", 3), ("d", 2)))
    assert a.over(b).over(c).conflicts == {"layers": "2 (b); 3 (c)"}
    assert a.over(b.over(c)).conflicts == {"layers": "2 (b); 3 (c)"}
    assert a.over(b.over(d)).conflicts == {"layers": "2 (b)"}
    assert b.over(c).over(c).conflicts == {"layers": "3 (c)"}


def test_counts_that_a_log_rounds_are_no_conflict() -> None:
    both = beside.under(Facts.stated("log", parameters=124e6), Facts.stated("c", parameters=124_439_808.0))
    assert (both.parameters, both.conflicts) == (124e6, {})


def test_files_that_are_no_configuration_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, metrics_dot_csv=TABLE, environment_dot_yaml="name: x\ndependencies:\n- python\nseed: 3\nlr: 1\n")
    put(tmp_path, notes_dot_yaml="hello: world\n", broken_config_dot_json="{", train_dot_py="import torch\n")
    put(tmp_path, config_dot_py="def f():\n    pass\n", pyproject_dot_toml="[project]\nname = 'x'\n", empty_dot_yaml="")
    (tmp_path / "args.json").write_bytes(b"\x00\xff" * 100)
    (tmp_path / "config.toml").mkdir()
    run = read(tmp_path / "metrics.csv")
    assert (run.reading.configurations, stated(run.facts) & {"seed", "layers"}) == ((), set())


def test_nothing_is_beside_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, config_dot_yaml=YAML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(TABLE.encode())})())
    assert read("-").reading.configurations == ()


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, metrics_dot_csv=TABLE, config_dot_yaml=YAML)
    monkeypatch.chdir(tmp_path)
    run = read("metrics.csv")
    assert run.facts.layers == 4
    assert run.reading.notes[-1] == "configuration taken from config.yaml beside the log"
    assert run.reading.configurations == ("config.yaml",)


def test_finding_is_cheap(tmp_path: Path) -> None:
    put(tmp_path, metrics_dot_csv=TABLE, config_dot_yaml=YAML)
    for number in range(3 * nearby.MOST_ENTRIES // 2):
        (tmp_path / f"shard_{number}.npy").touch()
    start = time.perf_counter()
    assert nearby.near(tmp_path / "metrics.csv") == ()  # a folder of data, not of a run
    assert time.perf_counter() - start < 0.2
    large = put(tmp_path / "b", metrics_dot_csv=TABLE, config_dot_yaml=YAML + "#" * nearby.LARGEST_TEXT)
    assert nearby.near(large / "metrics.csv") == ()
