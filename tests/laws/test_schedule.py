"""The cost of a schedule's shape: by hand, against a slow sum, and against pairs of public runs."""

import csv
from collections import defaultdict

import numpy as np
import pytest

from talweg.laws import annealing, schedule, undertrained
from talweg.laws import learning_rate as rates
from talweg.schedule import Schedule
from tests.conftest import shared

STEPS = annealing.grid(10_000)


def rate(kind: str = "cosine", min_lr: float = 0.0, warmup: int = 200, decay_start: int = 0) -> annealing.Array:
    return Schedule(kind, 1e-3, min_lr, warmup, 10_000, decay_start).at(STEPS)  # type: ignore[arg-type]


def test_the_area_part_by_hand() -> None:
    """Half the area at 20 tokens a parameter: beta = 0.115 x 20^-0.11 = 0.0827, so 1.2 (1 - 2^-0.0827) nats."""
    own = annealing.Path(np.array([0.0, 1.0]), np.array([0.0, 500.0]), np.zeros(2))
    other = annealing.Path(own.step, 2 * own.area, own.decayed)
    found = schedule.cost(3.0, own, other, gain=(0.2, 0.02), tokens_per_parameter=20.0, bytes_per_token=4.5)
    assert found.value == pytest.approx(0.0668, abs=2e-4)
    assert found.high / found.value == pytest.approx(np.exp(1.2816 * 0.45), rel=1e-3)
    assert found.value / found.low == pytest.approx(np.exp(1.2816 * 0.45), rel=1e-3)
    back = schedule.cost(3.0, other, own, gain=(0.2, 0.02), tokens_per_parameter=20.0)
    assert back.value < 0
    assert back.low < back.value < back.high


def test_the_decay_part_by_hand() -> None:
    """A fifth of g = 0.2 is 0.04; its error is that of g (0.02) and 15 % of it, in squares, on a fifth."""
    own = annealing.Path(np.array([0.0, 1.0]), np.array([0.0, 500.0]), np.array([0.0, 0.5]))
    other = annealing.Path(own.step, own.area, np.array([0.0, 0.7]))
    found = schedule.cost(3.0, own, other, gain=(0.2, 0.02))
    assert found.value == pytest.approx(0.04)
    assert found.sd == pytest.approx(0.2 * np.hypot(0.02, 0.03), rel=1e-6)


def test_text_of_fewer_bytes_a_token_has_a_lower_floor() -> None:
    own = annealing.Path(np.array([0.0, 1.0]), np.array([0.0, 500.0]), np.zeros(2))
    other = annealing.Path(own.step, 2 * own.area, own.decayed)
    small = schedule.cost(1.2, own, other, gain=(0.2, 0.0), bytes_per_token=1.0)
    assert small.value == pytest.approx((1.2 - 0.4) * (1 - 2**-0.115))
    assert schedule.cost(1.2, own, other, gain=(0.2, 0.0)).value == 0.0


def test_undertrained_says_what_it_said() -> None:
    """The law was split in two; by hand: 1.7 (1 - 4^-0.115) for one token a parameter at 3.5 nats."""
    assert undertrained.fall(3.5, 4.0, 1.0, 4.5).value == pytest.approx(1.7 * (1 - 4**-0.115))


@pytest.mark.parametrize(("steps", "usual"), [(800, 80), (3000, 300), (10_000, 300), (100_000, 2000)])
def test_the_usual_warmup(steps: int, usual: int) -> None:
    assert schedule.usual_warmup(steps) == pytest.approx(usual)


def test_another_warmup_is_the_schedule_that_has_it() -> None:
    long, short = rate("cosine", 1e-4, 4000), rate("cosine", 1e-4, 200)
    assert np.abs(schedule.with_warmup(STEPS, long, 200) - short).max() < 0.02 * 1e-3  # the peak is found to 1 %
    assert schedule.peak_at(STEPS, long) == pytest.approx(3960, abs=5)


def test_another_final_rate_is_the_schedule_that_has_it() -> None:
    for kind in ("cosine", "linear"):
        lower = schedule.with_final_rate(STEPS, rate(kind, 4e-4), 1e-5)
        assert np.abs(lower - rate(kind, 1e-5)).max() < 1e-5
    constant = rate("constant")
    assert np.array_equal(schedule.with_final_rate(STEPS, constant, 0.0), constant)


def test_a_last_decay_ends_at_zero_and_changes_nothing_before() -> None:
    cut = schedule.with_last_decay(STEPS, rate("constant"), 0.2)
    assert cut[-1] == 0
    assert np.array_equal(cut[STEPS <= 8000], rate("constant")[STEPS <= 8000])
    assert cut[np.searchsorted(STEPS, 9000)] == pytest.approx(5e-4, rel=1e-2)


def test_a_line_to_zero_gathers_half_whatever_its_warmup() -> None:
    """So that a long warm-up costs nothing there but what the shorter decay leaves undigested."""
    areas = [schedule.path(STEPS, rate("linear", 0.0, warmup)).area[-1] for warmup in (200, 5000)]
    assert areas == pytest.approx([5000, 5000], rel=2e-3)


def test_said_over_lost_for_public_runs_that_differ_in_their_warmup() -> None:
    """3,000 updates of 0.5 M tokens against as many tokens as parameters, the rate otherwise nearly constant."""
    table = shared("data/curves/tables/formll_loss_vs_N_D.csv")
    losses: dict[tuple[str, float, float], dict[str, float]] = defaultdict(dict)
    with table.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            wanted = (row["param_count"], row["decay"], row["hparams"], row["split"])
            if wanted == ("standard", "kaplan", "base", "val") and row["tokens"] and row["loss"]:
                key = row["dataset"], float(row["n"]), float(row["tokens"])
                losses[key].setdefault(row["warmup"], float(row["loss"]))
    ratios = []
    for (_, n, tokens), loss in losses.items():
        if len(loss) == 2 and loss["long"] - loss["short"] > 0.01:
            ends = [_gathered(tokens, warmup) for warmup in (3000 * 2**19, n)]
            own, other = (annealing.Path(np.array([0.0, 1.0]), np.array([0.0, e]), np.zeros(2)) for e in ends)
            said = schedule.cost(loss["long"], own, other, gain=(0.0, 0.0), tokens_per_parameter=tokens / n)
            ratios.append(said.value / (loss["long"] - loss["short"]))
    assert len(ratios) >= 200
    assert float(np.median(ratios)) == pytest.approx(1.0, abs=0.1)
    assert float(np.std(np.log(ratios))) == pytest.approx(schedule.AREA_SD, abs=0.05)
    within = np.abs(np.log(ratios)) < 1.2816 * schedule.AREA_SD
    assert 0.75 <= float(within.mean()) <= 0.88


def _gathered(tokens: float, warmup: float) -> float:
    return tokens**2 / (2 * warmup) if tokens < warmup else tokens - warmup / 2


def test_the_best_rate_by_optimizer() -> None:
    adam = rates.optimum(1e8, 1e10)
    assert rates.optimum_for(None, 1e8, 1e10, scaled_to_adamw=False) == adam
    assert rates.optimum_for("AdamW", 1e8, 1e10, scaled_to_adamw=False) == adam
    for name in ("lion", "SGD", "adafactor", "soap", "NorMuon"):
        assert rates.optimum_for(name, 1e8, 1e10, scaled_to_adamw=True) is None
    own = rates.optimum_for("muon", 1e8, 1e10, scaled_to_adamw=True)
    foreign = rates.optimum_for("muon", 1e8, 1e10, scaled_to_adamw=False, width=1024)
    assert own is not None
    assert foreign is not None
    assert own.value == pytest.approx(2 * adam.value)
    assert own.low == adam.low
    assert own.high == pytest.approx(2 * adam.high)
    assert foreign.high / own.high == pytest.approx(0.2 * 64)  # 0.2 sqrt(4 x 1,024)


def test_the_cost_of_a_low_peak_follows_its_table_and_goes_on_beyond() -> None:
    assert [rates.cost_of_peak(r).value for r in (1 / 32, 1 / 16, 1 / 8, 1.0)] == [0.079, 0.057, 0.037, 0.0]
    assert rates.cost_of_peak(1 / 128).value == pytest.approx(0.079 + 2 * 0.022)
    costs = [rates.cost_of_peak(2.0**-k).value for k in range(12)]
    assert costs == sorted(costs)


def test_the_low_end_of_the_table_against_the_public_grid() -> None:
    """At the best batch of each cell of StepLaw: a sixteenth of the best rate loses 0.04 to 0.07."""
    table = shared("data/curves/tables/steplaw__dense_lr_bs_loss.csv")
    cells: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    with table.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["smooth loss"]:
                cells[row["N"], row["D"]].append((float(row["lr"]), float(row["bs"]), float(row["smooth loss"])))
    lost = []
    for runs in cells.values():
        best_rate, batch, best = min(runs, key=lambda r: r[2])
        lost += [loss - best for lr, bs, loss in runs if bs == batch and abs(np.log2(lr / best_rate) + 4) < 0.1]
    assert len(lost) >= 2
    assert float(np.median(lost)) == pytest.approx(0.057, abs=0.01)
