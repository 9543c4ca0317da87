"""The fall of the loss with more steps at few tokens a parameter, against hand calculation and measured pairs."""

import pytest

from talweg.laws import undertrained

# Annealed ends of runs that differ in their length alone: loss of the shorter, ratio, what the longer won. A GPT of
# 0.23 M parameters (two layers of 64, vocabulary 2,048, Shakespeare), 600 and 2,000 steps of 1,024 tokens, by Talweg's
# own model and optimizer; decay complete at a quarter and at half of the steps.
MEASURED = ((5.459, 4.0, 0.635), (5.096, 2.0, 0.272), (4.860, 4.0, 0.466), (4.603, 2.0, 0.209))


def test_by_hand() -> None:
    """(5.4 - 1.8) (1 - 4^-0.12) = 3.6 (1 - 0.84675) = 0.5517."""
    found = undertrained.fall(5.4, 4.0)
    assert found.value == pytest.approx(0.5517, abs=1e-4)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("loss", "ratio", "won"), MEASURED)
def test_measured_pairs_lie_within(loss: float, ratio: float, won: float) -> None:
    found = undertrained.fall(loss, ratio)
    assert found.low <= won <= found.high


def test_shorter_tokens_have_less_entropy_each() -> None:
    assert undertrained.fall(4.0, 2.0, bytes_per_token=3.0).value > undertrained.fall(4.0, 2.0).value


def test_nothing_is_won_by_nothing_or_below_the_text() -> None:
    assert undertrained.fall(5.0, 1.0).value == 0.0
    assert undertrained.fall(1.5, 4.0).high == 0.0
