"""Learning rate, evaluation error and anchors, by hand."""

import math

import pytest

from talweg.laws import anchors, evaluation, learning_rate


def test_the_best_peak_rate_by_hand() -> None:
    # 1.79 x 40.56e6^-0.713 x 10.49e9^0.307 = 8.0e-3; 0.3118 x (6 N D)^-0.125 = 1.56e-3; geometric mean 3.5e-3
    best = learning_rate.optimum(40.56e6, 10.49e9)
    assert best.value == pytest.approx(3.54e-3, rel=0.01)
    assert best.high / best.value == pytest.approx(4)


@pytest.mark.parametrize(("ratio", "nats"), [(1, 0.0), (0.5, 0.007), (2, 0.019), (4, 0.097), (2**-2.5, 0.029)])
def test_the_cost_of_a_wrong_peak_follows_the_table(ratio: float, nats: float) -> None:
    assert learning_rate.cost_of_peak(ratio).value == pytest.approx(nats)


def test_far_too_high_costs_more_and_is_open_upwards() -> None:
    eight = learning_rate.cost_of_peak(8)
    assert eight.value == pytest.approx(0.175)
    assert eight.high / eight.value == pytest.approx(3)


def test_an_evaluation_of_3200_windows() -> None:
    # 0.44 / sqrt(3200) = 0.00778; the public figure for 200 x 16 windows is .0091 on FineWeb, .0075 (200 x 12) on OWT
    error = evaluation.standard_error(3200)
    assert error.value == pytest.approx(0.44 / math.sqrt(3200))
    assert error.low < 0.0075
    assert error.high == pytest.approx(0.0090, abs=1e-4)


def test_a_shorter_window_is_noisier_by_at_most_the_square_root() -> None:
    short, long = evaluation.standard_error(100, 256), evaluation.standard_error(100, 1024)
    assert short.low == pytest.approx(long.low)
    assert short.high == pytest.approx(2 * long.high)


def test_a_file_of_a_million_tokens() -> None:
    level = evaluation.level_uncertainty(1024 * 1024)
    assert (level.low, level.value, level.high) == pytest.approx((0.5 / 32, 0.7 / 32, 1 / 32))


def test_anchors_are_ordered_and_cover_gpt2_on_web_text() -> None:
    for size in (256, 1000, 4096, 50_257):
        assert anchors.bigram(size).value < anchors.unigram(size).value < anchors.uniform(size)
    assert anchors.uniform(50_304) == pytest.approx(10.83, abs=0.005)
    gpt2 = anchors.unigram(50_257)
    assert gpt2.low <= 7.2
    assert gpt2.high >= 7.8
