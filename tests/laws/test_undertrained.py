"""The fall of the loss with more steps at few tokens a parameter, against hand calculation and measured pairs."""

import pytest

from talweg.laws import undertrained

# Annealed ends of runs that differ in their length alone, on Shakespeare, by Talweg's own model and optimizer: loss of
# the shorter, how many times as long the longer is, what it won, tokens a parameter of the shorter, bytes a token.
MEASURED = (
    (5.459, 4.0, 0.635, 0.67, 2.8),  # 0.23 M parameters, 600 steps of 1,024 tokens, linear decay
    (5.096, 2.0, 0.272, 1.34, 2.8),
    (4.860, 4.0, 0.466, 2.23, 2.8),  # 2,000 steps, cosine
    (4.603, 2.0, 0.209, 4.46, 2.8),
    (5.054, 4.0, 0.549, 0.47, 2.8),  # 0.66 M parameters, 600 steps of 2,048 tokens, linear
    (4.780, 2.0, 0.275, 0.94, 2.8),
    (5.668, 4.0, 0.860, 0.31, 3.06),  # 1.31 M parameters, 400 steps of 4,096 tokens, linear
)


def test_by_hand() -> None:
    """(5.4 - 1.8) (1 - 4^-0.115) = 3.6 (1 - 0.85263) = 0.5305; at e^9.09 tokens a parameter beta is 0.0423."""
    found = undertrained.fall(5.4, 4.0, 1.0, 4.5)
    assert found.value == pytest.approx(0.5305, abs=1e-4)
    assert found.low < found.value < found.high
    assert undertrained.fall(5.4, 4.0, 8866.0, 4.5).value == pytest.approx(3.6 * (1 - 4**-0.0423), rel=1e-3)


@pytest.mark.parametrize(("loss", "ratio", "won", "tokens_per_parameter", "bytes_per_token"), MEASURED)
def test_measured_pairs_lie_within(
    loss: float, ratio: float, won: float, tokens_per_parameter: float, bytes_per_token: float
) -> None:
    found = undertrained.fall(loss, ratio, tokens_per_parameter, bytes_per_token)
    assert found.low <= won <= found.high


def test_what_is_not_known_is_taken_for_one_token_a_parameter_and_gpt2s_tokens() -> None:
    assert undertrained.fall(5.4, 4.0, None, None) == undertrained.fall(5.4, 4.0, 1.0, 4.5)


def test_nothing_is_won_by_nothing_or_below_the_text() -> None:
    assert undertrained.fall(5.0, 1.0, 1.0, 4.5).value == 0.0
    assert undertrained.fall(1.5, 4.0, 1.0, 4.5).high == 0.0
