"""Every public sample log is read, and each of its points is what an independent count of the same file gives.

A file that is in no list below fails `test_no_file_is_forgotten`: it is a log, a part of one, or none.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from talweg.errors import InputError
from talweg.readers import read
from talweg.run import COLUMN_NAMES, Run, Series
from tests.conftest import SHARED, shared
from tests.readers import counted
from tests.readers.counted import TINY, Counted, in_force


@dataclass(frozen=True)
class Sample:
    """formats and kinds: any of these names is right. resolution: of the training loss, where it is printed as text."""

    path: str
    formats: str
    count: Callable[[Path], Counted]
    kinds: str = "unknown"
    resolution: float | None = None
    facts: tuple[tuple[str, object], ...] = ()  # what the log states beyond doubt
    steps_differ: str = ""  # what the log's own steps may count instead: step_unit then says so
    absent: tuple[str, ...] = ()  # columns that would be invented


def rows(step: str, **columns: str) -> Callable[[Path], Counted]:
    return lambda path: counted.rows(path, step, **columns)


def hf_printed(tokens: str) -> Callable[[Path], Counted]:
    return lambda path: counted.hf_records(path, tokens, 1024)


HF = "hugging_face"
MEGATRON = "megatron"
HAMNER = {"step": "step", "train_loss": "loss", "learning_rate": "learning_rate"}
NAN_LEFT_OUT = "nan_logged_as"
RUN = "data/formats/mlflow_file/mlruns/466690365183163047/efc464f15daa4c1189883b11b5633767"

FORMATS = (
    Sample("nanogpt/train.log", "nanogpt", counted.nanogpt, "micro_batch", 1e-4, absent=("learning_rate", "grad_norm")),
    Sample("llmc/main.log", "llmc", counted.llmc_main, "batch", 1e-4),
    Sample("llmc/stdout.log", "llmc", counted.llmc_stdout, "batch", 1e-6, (("planned_steps", 300),)),
    Sample(
        "nanochat/base_train.log",
        "nanochat",
        counted.nanochat,
        "running_mean",
        1e-6,
        (("train_loss_decay", 0.9), ("planned_steps", 150), ("layers", 2), ("tokens_per_step", 512)),
        absent=("learning_rate", "val_loss"),
    ),
    Sample("modded_nanogpt/style_2026.log", "modded_nanogpt", counted.modded_nanogpt, absent=("train_loss",)),
    Sample("litgpt/stdout.txt", "litgpt", counted.litgpt, "batch interval_mean running_mean", 1e-3),
    Sample(
        "litgpt/metrics.csv",
        "table litgpt",
        rows("step", train_loss="loss", val_loss="val_loss", learning_rate="learning_rate"),
        "unknown batch running_mean interval_mean",
        steps_differ="iter",
    ),
    Sample(
        "lightning_csvlogger/lightning_logs/version_0/metrics.csv",
        "table",
        rows("step", train_loss="train_loss", val_loss="val_loss", learning_rate="lr-AdamW", grad_norm="grad_norm"),
    ),
    Sample("hf_trainer/out/trainer_state.json", HF, counted.hf_state, "interval_mean", facts=((NAN_LEFT_OUT, ...),)),
    Sample("hf_trainer/out/checkpoint-150/trainer_state.json", HF, counted.hf_state, "interval_mean"),
    Sample("hf_trainer/out/checkpoint-300/trainer_state.json", HF, counted.hf_state, "interval_mean"),
    Sample("hf_trainer/out", HF, lambda path: counted.hf_state(path / "trainer_state.json"), "interval_mean"),
    Sample(
        "hf_trainer/stdout.txt",
        HF,
        hf_printed("num_input_tokens_seen"),
        "interval_mean",
        1e-3,
        ((NAN_LEFT_OUT, ...),),
        steps_differ="epoch",
    ),
    Sample("axolotl/debug.log", HF, hf_printed("tokens/total"), "interval_mean", 1e-3, steps_differ="epoch"),
    Sample("torchtitan/train.log", "torchtitan", counted.torchtitan, "batch interval_mean", 1e-5),
    Sample("torchtitan/eight_ranks.log", "torchtitan", counted.torchtitan, "batch interval_mean", 1e-5),
    Sample(
        "megatron_lm/train.log",
        MEGATRON,
        counted.megatron,
        "interval_mean batch",
        1e-6,
        ((NAN_LEFT_OUT, ...), ("planned_steps", 300)),
    ),
    Sample("gpt_neox/train.log", MEGATRON, counted.megatron, "interval_mean batch", 1e-6),
    Sample("nanotron/train.log", "nanotron", counted.nanotron, "batch interval_mean", 1e-2, (("planned_steps", 300),)),
    Sample(
        "keras/training.csv",
        "keras table",
        rows("epoch", train_loss="loss", val_loss="val_loss"),
        "interval_mean unknown running_mean",
        steps_differ="epoch",
        facts=(("step_unit", "epoch"),),
    ),
    Sample("generic/metrics.jsonl", "table", rows("step", **TINY)),
    Sample("generic/metrics.csv", "table", rows("step", **TINY)),
    Sample("wandb_export/history.json", "table wandb_export", rows("step", **TINY)),
    Sample("wandb_export/panel.csv", "table wandb_export", rows("Step", train_loss="tiny-gpt - train/loss")),
    Sample("tensorboard_download/train_loss.csv", "table", rows("Step", train_loss="Value")),
    Sample("tensorboard_download/train_loss.json", "table", counted.triples),
    Sample("tensorboard_torch/run1", "tensorboard", counted.tensorboard),
    Sample("tensorboard_torch", "tensorboard", lambda path: counted.tensorboard(path / "run1")),
    Sample("tensorboard_torch/run1/events.out.tfevents.1795451070.vm.17428.0", "tensorboard", counted.tensorboard),
    Sample("tensorboardX/run1", "tensorboard", counted.tensorboard),
    Sample("tensorboardX/run1/events.out.tfevents.1795451084.vm", "tensorboard", counted.tensorboard),
    Sample("tensorboard_resumed/run1", "tensorboard", counted.tensorboard),
    Sample("tensorboard_resumed/run1_truncated", "tensorboard", counted.tensorboard),
    *(
        Sample(f"tensorboard_resumed/{run}/{file}", "tensorboard", counted.tensorboard)
        for run in ("run1", "run1_truncated")
        for file in (
            "events.out.tfevents.1795451095.vm.17900.0",
            "events.out.tfevents.1795451102.vm.17900.1.resumed",
        )
    ),
    Sample(f"../../{RUN}", "mlflow", counted.mlflow_files),
    Sample("mlflow_file/mlruns", "mlflow", lambda path: counted.mlflow_files(SHARED / RUN)),
    Sample("trackio/trackio_dir/tiny.db", "trackio", counted.trackio),
    Sample("trackio/trackio_dir", "trackio", lambda path: counted.trackio(path / "tiny.db")),
    Sample("neptune_export/TINY-1_part_0.parquet", "neptune parquet", counted.neptune),
    Sample("neptune_export", "neptune parquet", lambda path: counted.neptune(path / "TINY-1_part_0.parquet")),
)
CS336 = {"train_loss": "train/loss", "val_loss": "eval/loss", "learning_rate": "train/learning_rate"}
SPEEDRUN = rows("step", train_loss="train_loss", val_loss="val_loss")
OLMO = "eval/c4_en-validation/CrossEntropyLoss"
CURVES = (
    Sample("seed_run/train.log", "nanogpt", counted.nanogpt, "micro_batch", 1e-4),
    Sample("nanogpt_124m/train.log", "nanogpt", counted.nanogpt, "micro_batch", 1e-4),
    Sample("hf_trainer/jaong_cpt__trainer_state.json", HF, counted.hf_state, "interval_mean"),
    Sample("hf_trainer/yali__trainer_state.json", HF, counted.hf_state, "interval_mean batch"),
    Sample(
        "bigscience/experiments__gpt2-meg-ds-zero__meg_ds_zero_gpt2_perf_n16-1999616.log",
        MEGATRON,
        counted.megatron,
        "interval_mean batch",
        1e-5,  # 1.252221E+01 ends in the fifth decimal
    ),
    # one line with a loss: how many updates it is the mean of is not known
    Sample("datablations/blowup-1-1793404.log", MEGATRON, counted.megatron, "unknown interval_mean", 1e-6),
    *(
        Sample(path, MEGATRON, counted.megatron, "interval_mean batch", 1e-6)
        for path in (
            "bigscience/experiments__gpt2-meg__meg_gpt2_base_n4_dp1_tp4_pp4-1809579.log",
            "datablations/blowup-2-1793438.log",
        )
    ),
    Sample("cs336/metrics.csv", "table", rows("step", **CS336)),
    Sample("cs336/metrics.json", "table", rows("step", **CS336)),
    Sample("chat_hamner/metrics.csv", "table", rows(**HAMNER)),
    Sample("chat_hamner/pretrain_v4_base_metrics.csv", "table", rows(**HAMNER, val_loss="val_loss")),
)


def curves() -> Iterator[Sample]:
    """Those that are many of one kind."""
    folder = SHARED / "data/curves"
    for path in sorted(folder.glob("m*/*.csv")) + sorted(folder.glob("p*/*.csv")):
        count = rows("step", train_loss="loss", learning_rate="lr") if path.parent.name == "multipowerlaw" else SPEEDRUN
        yield Sample(path.relative_to(folder).as_posix(), "table", count)
    for path in sorted(folder.glob("olmo_ladder/*.csv")):
        yield Sample(path.relative_to(folder).as_posix(), "table", rows("_step", val_loss=OLMO), absent=("train_loss",))


ALL = [("data/formats", sample) for sample in FORMATS] + [("data/curves", sample) for sample in (*CURVES, *curves())]
IDS = [f"{root.split('/')[1]}/{sample.path.removeprefix('../../data/formats/')}" for root, sample in ALL]


def points(run: Run, column: str) -> list[tuple[float, float]]:
    """A scale that no fp16 scaler set (1.0 of bf16, say) may stand under its own name."""
    series = getattr(run, column) or run.others.get(column.replace("_", " "), Series())
    return list(zip(series.step.tolist(), series.value.tolist(), strict=True))


@pytest.mark.parametrize(("root", "sample"), ALL, ids=IDS)
def test_a_sample_is_read_as_an_independent_count_gives_it(root: str, sample: Sample) -> None:
    path = shared(f"{root}/{sample.path}")
    for library in {"tensorboard": ["tensorboard"], "neptune parquet": ["pyarrow"]}.get(sample.formats, []):
        pytest.importorskip(library)
    run = read(path)
    assert run.format in sample.formats.split()
    for column, pairs in sample.count(path).items():
        expected = in_force(_updates(pairs) if sample.steps_differ == "iter" and not run.facts.step_unit else pairs)
        got = points(run, column)
        assert len(got) == len(expected), f"{column}: {len(got)} points, {len(expected)} were counted"
        steps, values = np.array(got).T
        np.testing.assert_allclose(values, [value for _, value in expected], rtol=1e-12, err_msg=column)
        if run.facts.step_unit is None or not sample.steps_differ:
            np.testing.assert_allclose(steps, [step for step, _ in expected], err_msg=f"steps of {column}")
        finite = [value for _, value in expected if math.isfinite(value)]
        assert values[np.isfinite(values)].min() == pytest.approx(min(finite), rel=1e-12)
    assert not any(getattr(run, column) for column in sample.absent)
    _is_known(run, sample)


def _updates(pairs: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """litgpt's own table counts micro-batches from 0, two an update, and 600 in all."""
    return [(min(math.ceil((step + 1) / 2), 300), value) for step, value in pairs]


def _is_known(run: Run, sample: Sample) -> None:
    """What one value of a loss is, how finely it is printed, and facts."""
    if run.train_loss:
        assert run.train_loss.kind in sample.kinds.split()
        if sample.resolution is not None:
            assert run.train_loss.resolution == pytest.approx(sample.resolution)
    if run.val_loss:
        assert run.val_loss.kind == "evaluation"
    if (run.facts.train_loss_window or 1) > 1:
        assert run.train_loss.kind == "interval_mean"
    for fact, value in sample.facts:
        known = getattr(run.facts, fact)
        assert (known is not None) if value is ... else known == value, fact
        assert run.facts.sources[fact]
    for name, value in ((name, getattr(run, name)) for name in COLUMN_NAMES):
        assert np.all(np.isfinite(value.step)), name
        assert np.all(np.diff(value.step) > 0), name
    for note in run.reading.notes:
        assert note.strip()
        assert "\n" not in note


# ---------------------------------------------------------------- pitfalls that a count alone does not show


def test_a_resumed_tensorboard_run_is_one_run() -> None:
    """352 points are stored; 301 are of the run that was kept, and the 51 from step 150 on are superseded."""
    pytest.importorskip("tensorboard")
    run = read(shared("data/formats/tensorboard_resumed/run1"))
    assert len(run.train_loss) == 301
    assert run.train_loss.step.tolist() == list(range(301))
    assert run.facts.resumed_at == (150.0,)
    assert sum(len(piece) for piece in run.superseded["train_loss"]) == 51
    assert run.train_loss.value[-1] == np.float32(2.323169469833374)


def test_a_loss_that_megatron_leaves_out_is_nan() -> None:
    run = read(shared("data/formats/megatron_lm/train.log"))
    assert len(run.train_loss) == 300
    assert np.flatnonzero(np.isnan(run.train_loss.value)).tolist() == list(range(279, 300))
    assert np.isnan(run.grad_norm.value[279:]).all()


def test_updates_that_megatron_skipped_are_no_nan() -> None:
    """Its first ten updates were skipped, so that no loss was averaged."""
    run = read(shared("data/curves/bigscience/experiments__gpt2-meg__meg_gpt2_base_n4_dp1_tp4_pp4-1809579.log"))
    assert run.train_loss.num_not_finite == 0
    assert run.train_loss.step[0] == 20


def test_eight_ranks_are_one_run() -> None:
    run = read(shared("data/formats/torchtitan/eight_ranks.log"))
    assert len(run.train_loss) == 40
    assert not run.superseded
    assert not run.rank_loss_spread


def test_three_printed_digits_are_a_hundredth_of_a_nat() -> None:
    run = read(shared("data/formats/nanotron/train.log"))
    assert run.train_loss.resolution == pytest.approx(0.01)
    assert run.facts.tokens_per_step == pytest.approx(1024, rel=0.01)


def test_strings_of_hugging_face_are_numbers() -> None:
    run = read(shared("data/formats/hf_trainer/stdout.txt"))
    assert run.train_loss.value[:3].tolist() == [4.335, 4.136, 3.589]
    assert run.val_loss.value[-1] == 2.18  # and the mean of the whole run, printed last, is no loss of a step


def test_the_printed_bars_of_keras_are_epochs() -> None:
    """Six epochs of 71 updates; the losses that the bar shows within an epoch are means of it so far."""
    path = shared("data/formats/keras/stdout.txt")
    run = read(path)
    val = [float(line.split("val_loss: ")[1].split()[0]) for line in counted.lines(path) if "val_loss: " in line]
    assert len(val) == 6
    assert run.val_loss.value.tolist() == val
    assert run.val_loss.kind == "evaluation"
    if run.facts.step_unit is None:
        assert run.val_loss.step.tolist() == [71.0 * epoch for epoch in range(1, 7)]
    else:
        assert run.facts.step_unit == "epoch"
    ends = [line for line in counted.lines(path) if "71/71" in line and "val_loss" in line]
    last = [float(line.split(" - loss: ")[1].split()[0]) for line in ends]
    assert run.train_loss.value[-1] == last[-1]
    assert set(last) <= set(run.train_loss.value.tolist())


def test_the_history_of_keras_is_epochs() -> None:
    run = read(shared("data/formats/keras/history.json"))
    assert len(run.train_loss) == len(run.val_loss) == 6
    assert run.facts.step_unit == "epoch"
    assert (run.train_loss.value[0], run.train_loss.value[-1]) == (3.1498055458068848, 1.4004254341125488)


def test_two_event_folders_are_no_one_run() -> None:
    """Which of two runs is meant is asked, or said."""
    pytest.importorskip("tensorboard")
    message = ""
    try:
        run = read(shared("data/formats/tensorboard_resumed"))
    except InputError as error:
        message = str(error)
    else:
        assert len(run.reading.runs) == 2
        assert len(run.train_loss) == 301
        return
    assert "run1" in message
    assert "\n" not in message


# ---------------------------------------------------------------- what is no log

NO_LOGS = (
    *("**/README.md", "INDEX.md", "**/config.json", "**/generation_config.json", "**/*__config.json", "**/meta.yaml"),
    *("**/hparams.yaml", "nanochat/meta_000150.json", "seed_run/train_fineweb.config.txt", "tables/*.csv"),
    *("hf_trainer/stderr_tqdm.txt", "nanogpt/stderr.txt", "mlflow_file/**/params/*", "mlflow_file/**/tags/*"),
    "tensorboard_torch/run1/1795451081.0639148/*",  # one value of a loss at the end of the run: none of a step
)
PARTS = ("mlflow_file/**/metrics/*/*", "trackio/trackio_dir/tiny.db-*", "trackio/trackio_dir/tiny.lock")
MORE = ("keras/stdout.txt", "keras/history.json")  # have tests of their own


def found(patterns: tuple[str, ...]) -> set[Path]:
    roots = (SHARED / "data/formats", SHARED / "data/curves")
    return {path for root in roots for pattern in patterns for path in root.glob(pattern) if path.is_file()}


@pytest.mark.parametrize("path", sorted(found(NO_LOGS)), ids=lambda path: "/".join(path.parts[-3:]))
def test_what_is_no_log_is_refused(path: Path) -> None:
    with pytest.raises(InputError) as error:
        read(path)
    assert "\n" not in str(error.value)


def test_no_file_is_forgotten() -> None:
    shared("data/formats")
    logs = {(SHARED / root / sample.path).resolve() for root, sample in ALL}
    known = {path.resolve() for path in found((*NO_LOGS, *PARTS, *MORE))} | logs
    roots = (shared("data/formats"), shared("data/curves"))
    files = {path.resolve() for root in roots for path in root.rglob("*") if path.is_file()}
    assert files <= known, sorted(files - known)
    assert len(logs) > 100
