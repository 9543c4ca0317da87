"""The moving average of the weights against its definition, and that what is swapped in leaves no trace."""

import numpy as np
import pytest
import torch
from torch import nn

from talweg.errors import InputError
from talweg.train.average import Average, swapped_in


def walked(average: Average, model: nn.Module, number: int, seed: int = 0) -> list[np.ndarray]:
    """Move the weights `number` times; returns what the first parameter was after each."""
    generator, seen = torch.Generator().manual_seed(seed), []
    for _ in range(number):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn(p.shape, generator=generator))
        average.update(model)
        seen.append(next(model.parameters()).detach().double().numpy().copy())
    return seen


@pytest.mark.parametrize("number", [1, 2, 50])
def test_it_is_the_mean_of_all_weights_by_their_age(number: int) -> None:
    model = nn.Linear(5, 3)
    average = Average(model, 0.9)
    seen = walked(average, model, number)
    weight = 0.9 ** np.arange(number)[::-1]
    expected = np.tensordot(weight / weight.sum(), np.stack(seen), 1)  # the initial weights have no part
    np.testing.assert_allclose(average.weights["weight"].numpy(), expected, atol=2e-6)


def test_it_goes_on_bit_for_bit_from_a_saved_state() -> None:
    model, other = nn.Linear(5, 3), nn.Linear(5, 3)
    average, restored = Average(model, 0.9), Average(other, 0.9)
    walked(average, model, 3)
    restored.restore({name: tensor.clone() for name, tensor in average.state_tensors().items()})
    other.load_state_dict(model.state_dict())
    walked(average, model, 4, seed=1)
    walked(restored, other, 4, seed=1)
    assert restored.updates == 7
    assert all(torch.equal(average.weights[name], restored.weights[name]) for name in average.weights)


def test_a_state_without_an_average_begins_it_anew() -> None:
    model = nn.Linear(5, 3)
    average = Average(model, 0.9)
    walked(average, model, 3)
    average.restore({})
    (last,) = walked(average, model, 1)
    np.testing.assert_array_equal(average.weights["weight"].numpy(), last.astype(np.float32))


def test_the_average_of_another_model_is_refused() -> None:
    average = Average(nn.Linear(5, 3), 0.9)
    with pytest.raises(InputError, match="average of the weights has no weight of this model's shape"):
        average.restore(Average(nn.Linear(5, 4), 0.9).state_tensors())


def test_what_is_swapped_in_is_used_and_leaves_no_trace() -> None:
    model, x = nn.Linear(5, 3), torch.ones(1, 5)
    before, place = model(x), model.weight.data_ptr()
    others = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    with swapped_in(model, others):
        assert not model(x).any()
    with pytest.raises(KeyError), swapped_in(model, {}):
        pass
    with swapped_in(model, None):
        assert torch.equal(model(x), before)
    assert torch.equal(model(x), before)
    assert model.weight.data_ptr() == place
