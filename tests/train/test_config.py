"""Configurations: what is refused, and the one line that says why; what is filled in, and its reason."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from talweg.corpus import manifest as manifests
from talweg.errors import InputError
from talweg.train.config import Config, build, items, known_keys, load
from talweg.train.resolve import Machine, resolve, to_toml

MACHINE = Machine("cpu", "bf16", 2, {"hardware.precision": "measured"})
Make = Callable[..., Config]


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nwidht = 128\n[run]\nsteps = 5", "no setting is called model.widht; did you mean model.width?"),
        ("[optimiser]\npeak_lr = 1.0", "no setting is called optimiser.peak_lr; did you mean optimizer.peak_lr?"),
        ("[optimizer]\nmin_lr = 1.0", "no setting is called optimizer.min_lr; did you mean schedule.min_lr?"),
        ("[zebra]\nxylophone = 1.0", "no setting is called zebra.xylophone; docs/configuration.md lists them"),
        ("steps = 5", "steps stands outside a section; did you mean run.steps?"),
        ("[run]\nsteps = 'many'", "run.steps = 'many': needed a whole number or \"auto\""),
        ("[run]\nsteps = 1.5", "run.steps = 1.5: needed a whole number"),
        ("[run]\nsteps = true", "run.steps = True: needed a whole number"),
        ("[model]\nbias = 1\n[run]\nsteps = 5", "model.bias = 1: needed true or false"),
        ("[model]\nnorm = 'batchnorm'\n[run]\nsteps = 5", 'needed "rmsnorm" or "layernorm"'),
        ("[model]\nwidth = 128", "the length of the run is missing; give one of run.steps, run.tokens"),
        ("[run]\nsteps = 5\ntokens = 1e6", "is given more than once (run.steps and run.tokens); keep one of"),
        ("[run]\nsteps = 5\n[model]\nwidth = 100\nheads = 3", "100 is not a multiple of model.heads = 3"),
        ("[run]\nsteps = 5\n[model]\nwidth = 12\nheads = 4", "rope needs an even width per head"),
        ("[run]\nsteps = 5\n[batch]\ntokens_per_step = 1000", "the nearest is 1024"),
        ("[run]\nsteps = 5\n[model]\ndropout = 1.0", "model.dropout = 1.0: needed 0 or more and less than 1"),
        ("[run]\nsteps = 0", "run.steps = 0: needed at least 1"),
        ("[run]\nsteps = 5\nseed = 18446744073709551616", "run.seed = 18446744073709551616: needed at most 9,007,"),
        ("[run]\nsteps = 5\n[hardware]\nthreads = 5000", "hardware.threads = 5000: needed at most 4,096"),
        ("[run]\ntokens = 1e30", "run.tokens = 1e+30: needed at most 9,007,199,254,740,992"),
        ("[run]\nepochs = nan", "run.epochs = nan is not a finite number"),
        (
            "[run]\nsteps = 5\n[schedule]\nmin_lr = 1.0\n[optimizer]\npeak_lr = 3e-3",
            "schedule.min_lr = 1.0 is above optimizer.peak_lr = 0.003; lower it",
        ),
        ("[run]\nsteps = 5\n[schedule]\nwarmup_steps = 6", "6 steps of warm-up do not fit into 5 steps"),
        (
            "[run]\nsteps = 100\n[schedule]\nkind = 'wsd'\nwarmup_steps = 60\ndecay_share = 0.5",
            "60 steps of warm-up and 50 of decay do not fit into 100 steps",
        ),
        ("[run]\nsteps = 5\n[optimizer]\nname = 'sgd'", 'needed "adamw" or "muon" or "schedule_free"'),
        (
            "[run]\nsteps = 5\n[schedule]\nkind = 'linear'\n[optimizer]\nname = 'schedule_free'",
            'has no use for schedule.kind = "linear"; give schedule.kind = "constant"',
        ),
        (
            "[run]\nsteps = 5\n[schedule]\nkind = 'constant'\n[optimizer]\nname = 'schedule_free'\nbeta1 = 0.0",
            "needs optimizer.beta1 above 0",
        ),
        (
            "[run]\nsteps = 5\n[schedule]\nkind = 'constant'\n[optimizer]\nname = 'schedule_free'\naverage_decay = 0.9",
            "evaluates an average of the weights already; leave out optimizer.average_decay",
        ),
        ("[run]\nsteps = 5\n[optimizer]\naverage_decay = 1.0", "average_decay = 1.0: needed 0 or more and less than 1"),
        ("[run]\nsteps = 5\n[optimizer]\nmuon_momentum = 1.0", "muon_momentum = 1.0: needed 0 or more and less than 1"),
        ("[run]\nsteps = 5\n[optimizer]\nhead_lr_factor = 0.0", "head_lr_factor = 0.0: needed more than 0"),
        ("[run]\nsteps = 5\n[optimizer]\nbase_width = -1", "base_width = -1: needed 0 or more"),
        ("[run]\nsteps = 5\n[schedule]\ndecay_shape = 'exp'", 'needed "linear" or "sqrt"'),
        *(
            (
                f"[run]\nsteps = 50\n[schedule]\nkind = '{kind}'\nwarmup_steps = 51",
                "51 steps of warm-up do not fit into 50",
            )
            for kind in ("cosine", "linear", "constant")
        ),
        *(
            (
                "[run]\nsteps = 100\n[schedule]\nkind = 'wsd'\nwarmup_steps = 30\ndecay_share = 0.6\n"
                f"end_share = 0.8\ndecay_shape = '{shape}'",
                "30 steps of warm-up and 60 of decay do not fit into 80 steps",
            )
            for shape in ("linear", "sqrt")
        ),
        ("[run]\nsteps = 5\n[run]\n", "is not valid TOML"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load(written(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "config.toml" in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.toml cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[run]\nsteps = 1e2\n[model]\nwidth = 64")
    config = load(
        path, ["model.width=32", "optimizer.peak_lr=1e-3", "run.name=b", "model.bias=True", "model.norm=layernorm"]
    )
    assert (config.run.steps, config.model.width, config.optimizer.peak_lr) == (100, 32, 1e-3)
    assert (config.run.name, config.model.bias, config.model.norm) == ("b", True, "layernorm")


def test_a_length_on_the_command_line_takes_the_place_of_the_files(tmp_path: Path) -> None:
    config = load(written(tmp_path, "[run]\nminutes = 2.0"), ["run.steps=7"])
    assert (config.run.minutes, config.run.steps) == (None, 7)


def test_auto_leaves_a_value_open(tmp_path: Path) -> None:
    config = load(written(tmp_path, "[run]\nsteps = 9\n[evaluation]\nevery = 'auto'"), ["schedule.warmup_steps=auto"])
    assert config.evaluation.every is None
    assert config.schedule.warmup_steps is None


@pytest.mark.parametrize("override", ["model.widht=3", "model.width=three", "model.width", "model.bias=2"])
def test_an_override_that_cannot_be_used(tmp_path: Path, override: str) -> None:
    with pytest.raises(InputError, match=r"command line|needed|write section.key=value"):
        load(written(tmp_path, "[run]\nsteps = 5"), [override])


def test_the_known_keys_are_those_of_the_sections() -> None:
    assert {"run.steps", "optimizer.peak_lr", "schedule.min_lr", "model.dropout", "hardware.threads"} <= known_keys()
    assert known_keys() == set(items(Config()))


def test_resolving_fills_everything_and_gives_reasons(data: Path, configured: Make) -> None:
    config = configured(run__steps=None, run__tokens=10_000, evaluation__every=None, hardware__precision="auto")
    manifest = manifests.read(data)
    resolved = resolve(config, manifest, MACHINE)
    open_ones = [key for key, value in items(resolved.config).items() if value in (None, "auto")]
    assert open_ones == ["run.epochs", "run.minutes", "model.init_from"]
    assert resolved.steps == 39  # 10,000 / 256, whole steps
    assert resolved.config.model.vocabulary_size == 320
    assert resolved.reasons["model.vocabulary_size"] == "257 tokens, rounded up to a multiple of 64"
    assert resolved.reasons["hardware.precision"] == "measured"
    assert resolved.config.evaluation.tokens == manifest.val.tokens
    assert resolved.config.schedule.warmup_steps == 4


def test_the_resolved_file_says_the_same_when_it_is_read_back(data: Path, configured: Make, tmp_path: Path) -> None:
    resolved = resolve(configured(run__steps=None, run__epochs=2.5), manifests.read(data), MACHINE)
    path = written(tmp_path, to_toml(resolved.config, resolved.reasons))
    again = items(load(path))
    expected = {**items(resolved.config), "run.epochs": None}  # the length stands once, in steps
    assert again == expected
    assert "# 2.5 passes over" in path.read_text()


def test_minutes_leave_time_for_the_evaluations(data: Path, configured: Make) -> None:
    manifest = manifests.read(data)
    config = configured(run__steps=None, run__minutes=1.0, evaluation__every=None)
    resolved = resolve(config, manifest, MACHINE, seconds_per_step=lambda _: 0.1)
    # an evaluation is 2/3 of val.tokens / 256 updates' worth; 1.5 % of 600 updates pay for fewer than the least, 12
    cost = manifest.val.tokens * 2 / 3 / 256
    assert 0.015 * 600 / cost < 12
    assert resolved.steps == int(600 - 12 * cost)


def test_evaluations_read_as_much_as_a_share_of_the_run_allows(data: Path, configured: Make) -> None:
    manifest = manifests.read(data)
    large = replace(manifest, val=replace(manifest.val, tokens=1_000_000))

    def read(steps: int, **changes: object) -> int | None:
        return resolve(configured(run__steps=steps, **changes), large, MACHINE).config.evaluation.tokens

    assert read(100) == 16_384  # the least
    assert read(100_000) == 19_200  # 30 evaluations of val and train, each a third of an update's work a token:
    assert 30 * 2 * 19_200 / 3 == 0.015 * 100_000 * 256
    assert read(100_000_000) == 1_000_000
    assert read(100, evaluation__tokens=5_000) == 5_000
    assert resolve(configured(), manifest, MACHINE).config.evaluation.tokens == manifest.val.tokens


@pytest.mark.parametrize(
    ("changes", "start", "end"),
    [
        ({"schedule__kind": "cosine", "schedule__end_share": 0.25}, 0, 100),
        ({"schedule__kind": "wsd", "schedule__decay_share": 0.2}, 320, 400),
        ({"schedule__kind": "constant"}, 0, 400),
    ],
)
def test_the_schedule_has_the_horizon_from_the_run(
    data: Path, configured: Make, changes: dict[str, object], start: int, end: int
) -> None:
    schedule = resolve(configured(run__steps=400, **changes), manifests.read(data), MACHINE).schedule
    assert (schedule.decay_start, schedule.end_step, schedule.warmup_steps) == (start, end, 40)


def test_a_vocabulary_smaller_than_the_datas_is_refused(data: Path, configured: Make) -> None:
    with pytest.raises(InputError, match=r"model.vocabulary_size = 256, but the data have 257 tokens"):
        resolve(configured(model__vocabulary_size=256), manifests.read(data), MACHINE)


def test_a_run_shorter_than_a_step_is_refused(data: Path, configured: Make) -> None:
    with pytest.raises(InputError, match="shorter than one step of 256 tokens"):
        resolve(configured(run__steps=None, run__tokens=100.0), manifests.read(data), MACHINE)


def test_reading_a_configuration_needs_no_torch() -> None:
    code = "import sys, talweg.train.config, talweg.train.resolve, talweg.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_building_from_dotted_keys() -> None:
    assert build({"run.steps": 5, "model.width": 64}).model.width == 64


def test_schedule_free_has_a_constant_rate_where_nothing_else_is_given(tmp_path: Path) -> None:
    config = load(written(tmp_path, "[run]\nsteps = 5\n[optimizer]\nname = 'schedule_free'"))
    assert config.schedule.kind == "constant"
    assert load(written(tmp_path, "[run]\nsteps = 5")).schedule.kind == "linear"
