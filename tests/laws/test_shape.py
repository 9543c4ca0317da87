"""The law of the shape, by hand."""

import math

import pytest

from talweg.laws import shape


@pytest.mark.parametrize(("layers", "width"), [(12, 120), (12, 768), (4, 1200), (1, 256)])
def test_nothing_is_lost_in_the_level_band(layers: int, width: int) -> None:
    assert shape.aspect_cost(layers, width).high == 0.0


def test_octaves_outside_of_the_band_by_hand() -> None:
    """96 layers of 192 are 2 a layer: log2(10 / 2) = 2.32 octaves; 12 x 96 x 192^2 = 42.5 M parameters."""
    assert shape.blocks(96, 192) == 42_467_328
    found = shape.aspect_cost(96, 192)
    assert found.value == pytest.approx(2.3219 * shape.ASPECT_COST.value, rel=1e-4)
    assert shape.aspect_cost(16, 32).value == pytest.approx(2.3219 * shape.SMALL_ASPECT_COST.value, rel=1e-4)
    # Kaplan: 6 layers of 4,288 within 3 % of the best; at 2.5 nats that is .075
    wide = shape.aspect_cost(6, 4288)
    assert wide.low < 0.075
    assert wide.value < 0.075
    assert wide.high >= 0.075


def test_the_best_vocabulary_is_that_of_the_paper_at_3_b() -> None:
    """About 40,000 tokens for 2.87 B parameters of width 3,200; a tenth of the size wants 10^-.83 of the table."""
    layers = round(2.87e9 / 12 / 3200**2)
    assert shape.best_vocabulary(layers, 3200) == pytest.approx(40_000, rel=0.02)
    ratio = shape.best_vocabulary(12, 768) * 768 / (shape.best_vocabulary(24, 768) * 768)
    assert ratio == pytest.approx(2**-0.83)


def test_token_length_by_the_table_and_below_it() -> None:
    assert shape.token_length(8192) == pytest.approx(200.7)
    slope = (192.4 - 180.8) / math.log(1.5)
    assert shape.token_length(2048) == pytest.approx(180.8 - slope * math.log(2))
    assert shape.token_length(1e6) == 258.5


def test_the_text_that_a_smaller_table_reads_by_hand() -> None:
    """4 layers of 128: 786,432 outside; a table of 48,128 holds 6,160,384 more, of 4,096 524,288."""
    found = shape.text_gain(4, 128, 48_128, 4096)
    assert found == pytest.approx((786_432 + 6_160_384) / (786_432 + 524_288) * 180.8 / 246.8)
    assert shape.text_gain(4, 128, 4096, 4096) == 1.0


@pytest.mark.parametrize(("layers", "width"), [(96, 192), (48, 64), (2, 2048), (1, 1024)])
def test_a_balanced_shape_has_about_as_many_parameters(layers: int, width: int) -> None:
    depth, wide = shape.balanced(layers, width, 64)
    assert shape.ASPECT[0] <= wide / depth <= shape.ASPECT[1]
    assert shape.blocks(depth, wide) == pytest.approx(shape.blocks(layers, width), rel=0.5)
    assert wide % 64 == 0
