"""Lines with a step and a loss: build-nanogpt's two logs, home-made ones, and what must not be taken for such."""

from pathlib import Path

import pytest

from talweg.errors import InputError
from talweg.logs.given import Asked, Head, Log
from talweg.readers import formats, read, step_lines
from talweg.run import Run
from tests.readers.test_line_messes import BUILD

ENTRIES = "0 val 10.9511\n0 hella 0.2466\n0 train 10.955029\n1 train 10.900000\n2 val 10.8300\n2 train 10.800000\n"


def of(text: str) -> Run:
    return step_lines.read(Log.of_text(text), Asked())


def test_build_nanogpts_output() -> None:
    run = of("total desired batch size: 524288\n" + BUILD + "HellaSwag accuracy: 3032/10042=0.3019\n")
    assert run.train_loss.value.tolist() == [10.955029, 10.9, 10.8]
    assert run.val_loss.step.tolist() == [0, 2]  # printed before the line of their step
    assert run.learning_rate.value[0] == 8.3916e-07
    assert run.seconds_per_step.value.tolist() == pytest.approx([27.70072, 0.3383, 0.3383])
    assert (run.train_loss.kind, run.facts.train_loss_ranks, run.facts.tokens_per_step) == ("batch", "mean", 524_288)
    assert run.others["hellaswag"].value.tolist() == [0.3019]


def test_build_nanogpts_log_txt() -> None:
    assert step_lines.sniff(Head(ENTRIES)) >= 0.9
    run = of(ENTRIES)
    assert run.train_loss.value.tolist() == [10.955029, 10.9, 10.8]
    assert (run.val_loss.step.tolist(), run.val_loss.value.tolist()) == ([0, 2], [10.9511, 10.83])
    assert run.train_loss.resolution == pytest.approx(1e-6)


@pytest.mark.parametrize(
    ("form", "kept"),
    [
        ("step {0} | loss: {1:.4f} | lr: 1.00e-04", {"learning_rate"}),
        ("Step {0}/2000, Loss: {1:.4f}, LR: 1e-4, Grad Norm: 0.50", {"learning_rate", "grad_norm"}),
        ("step={0} loss={1:.4f} lr=1e-4", {"learning_rate"}),
        ("[INFO] global_step: {0}, train_loss: {1:.4f}, tokens/s: 12,345", {"tokens_per_second"}),
        ("2026-11-23 12:00:00,394 - INFO - Epoch [1/3], Step [{0}/2000], Loss: {1:.4f}", set()),
        ("Epoch 1 | Step {0} | Train Loss: {1:.4f} | dt: 12.5ms", {"seconds_per_step"}),
    ],
)
def test_home_made_lines(form: str, kept: set[str]) -> None:
    text = "".join(form.format(step, 5 - step / 1000) + "\n" for step in range(100, 600, 100))
    sure = {name: reader.sniff(Head(text)) for name, reader in formats().items()}
    assert max(sure, key=lambda name: sure[name]) == "step_lines"
    run = of(text)
    assert run.train_loss.step.tolist() == [100, 200, 300, 400, 500]
    assert run.train_loss.value.tolist() == [4.9, 4.8, 4.7, 4.6, 4.5]
    assert run.train_loss.kind == "unknown"
    assert all(len(getattr(run, name)) == 5 for name in kept)


def test_a_validation_loss_in_the_same_line_and_other_numbers() -> None:
    run = of("".join(f"step {n} | loss: 3.5 | val loss: 3.6 | acc: 0.5\n" for n in range(3)))
    assert run.val_loss.value.tolist() == [3.6] * 3
    assert run.others["acc"].value.tolist() == [0.5] * 3


def test_steps_that_each_epoch_counts_anew_are_counted_on() -> None:
    rows = [(epoch, step) for epoch in (1, 2, 3) for step in (1000, 2000)]
    run = of("".join(f"Epoch [{epoch}/3], Step [{step}/2000], Loss: {5 - epoch:.4f}\n" for epoch, step in rows))
    assert run.train_loss.step.tolist() == [1000, 2000, 3000, 4000, 5000, 6000]
    assert run.facts.planned_steps is None
    assert "each epoch counts its steps anew; they were counted on" in run.reading.notes


def test_a_resume_is_no_epoch() -> None:
    rows = [(1, 1000), (1, 2000), (1, 1000), (1, 1500)]
    run = of("".join(f"Epoch [{e}/3], Step [{s}/2000], Loss: {4 + n / 10:.4f}\n" for n, (e, s) in enumerate(rows)))
    assert run.train_loss.step.tolist() == [1000, 1500]


def test_steps_that_count_through_the_epochs_stay_as_they_are() -> None:
    rows = [(1, 500), (2, 1500), (3, 2500), (3, 2200), (3, 2800)]
    run = of("".join(f"Epoch {e}, Step {s}/3000, Loss: {4 + n / 10:.4f}\n" for n, (e, s) in enumerate(rows)))
    assert run.train_loss.step.tolist() == [500, 1500, 2200, 2800]
    assert run.facts.resumed_at == (2200,)


@pytest.mark.parametrize(
    "text",
    [
        "in step 5 the loss of data was total\n" * 5,
        "Step 1: install it\nStep 2: run it without loss\nStep 3: done, loss 0\n",
        "Nov 23 12:00:00 host dhcpd[71]: step 4 of 9 packet loss: 3\n" * 5,
        "1 train 5.0\n2 bus 6.0\n3 train 7.0\nfoo\n",
        "import a\nimport b\nimport c\n" + BUILD,
    ],
)
def test_other_texts_are_left_alone(text: str) -> None:
    assert step_lines.sniff(Head(text)) == 0.0


def test_nothing_of_it_is_an_error() -> None:
    with pytest.raises(InputError, match="no line with a step and a loss"):
        of("hello\n")


def test_maxtext(tmp_path: Path) -> None:
    """Its evaluation has a loss too, which is no training loss."""
    rows = [
        f"completed step: {step}, seconds: 1.203, TFLOP/s/device: 50.123, Tokens/s/device: 6808.345, "
        f"total_weights: 65536, loss: {10 - step / 8:.3f}\n"
        for step in range(8)
    ]
    path = tmp_path / "max.log"
    path.write_text("".join(rows) + "eval metrics after step: 7, loss=9.500, total_weights=65536.0\n")
    run = read(path)
    assert run.train_loss.step.tolist() == list(range(8))
    assert run.train_loss.value[-1] == 9.125
    assert (run.val_loss.step.tolist(), run.val_loss.value.tolist()) == ([7.0], [9.5])
    assert run.seconds_per_step.value[0] == 1.203
