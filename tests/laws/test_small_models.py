"""The law of small models by hand, against measured runs, and its widening."""

import pytest

from talweg.laws import small


def test_by_hand() -> None:
    # 1e6 weights and 1e7 bytes are the units of the law: 0.6 + 0.161 + 0.532
    found = small.per_byte(1e6, 1e7, tuned=True)
    assert found.value == pytest.approx(1.293)
    assert found.high - found.value == pytest.approx(1.2816 * 0.09 * 1.293, rel=1e-3)
    # 1e8 bytes: 0.532 / 10^0.15 = 0.532 / 1.4125 = 0.3766
    assert small.per_byte(1e6, 1e8, tuned=True).value == pytest.approx(0.6 + 0.161 + 0.3766, abs=1e-3)


@pytest.mark.parametrize(
    ("layers", "width", "text", "nats_per_byte", "tuned"),
    [
        (2, 96, 0.3e6, 1.841, True),  # bytes
        (2, 96, 2.0e6, 1.521, True),
        (2, 96, 0.3e6 * 2.603, 1.681, True),  # BPE of 1,024
        (4, 128, 0.699e6 * 3.65, 5.114 / 3.65, True),  # BPE of 4,096
        (4, 128, 10e6 * 3.65, 5.1328 / 3.65, False),  # nanoGPT's recipe
    ],
)
def test_the_interval_holds_measured_runs(
    layers: int, width: int, text: float, nats_per_byte: float, tuned: bool
) -> None:
    found = small.per_byte(12.0 * layers * width**2, text, tuned)
    assert found.low < nats_per_byte < found.high


def test_a_classic_recipe_may_be_worse_and_far_off_the_interval_widens() -> None:
    tuned, classic = small.per_byte(1e6, 1e7, True), small.per_byte(1e6, 1e7, False)
    assert classic.value > tuned.value
    assert classic.high - classic.low > tuned.high - tuned.low
    few = small.per_byte(1e6, 1e7, False, updates=244)  # (610 / 244)^1.5 = 3.95: up to .63 above
    assert few.value == pytest.approx((1 + 0.16 * 3.953 / 2) * tuned.value, rel=1e-3)
    far = small.per_byte(1e6, 1e4, True)
    assert far.sd / far.value > 1.5 * tuned.sd / tuned.value


def test_the_blocks_of_a_model() -> None:
    assert small.body(1.31e6, 4096, 4, 128) == 12 * 4 * 128**2
    # a shape that cannot be of so few weights is not believed
    assert small.body(5e6, 50_257, 12, 768) == small.body(5e6, 50_257, None, None) < 5e5
    # width 96, three layers, 50,432 tokens: 4.84 M in the embedding, 0.33 M in the blocks (Porian et al.)
    assert small.body(331_776 + 96 * 50_432, 50_432, None, None) == pytest.approx(331_776, rel=1e-6)
