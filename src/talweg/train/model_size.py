"""How many weights a configuration has, counted without building the model. Imports no torch."""

from talweg.model.shape import Shape, from_values
from talweg.train.config import Config, items


def model_size(config: Config) -> int:
    """All weights, a tied head once, without position embeddings: what `GPT.num_parameters` says.

    The vocabulary must be known.
    """
    shape = from_values(items(config))
    tables = shape.vocabulary_size * shape.width * (1 if shape.tied_head else 2)
    mixes = 2 * (shape.layers - 1) * (shape.value_residual + shape.x0_shortcut)  # the first layer has nothing to mix
    return tables + mixes + shape.layers * layer_size(shape) + _norm_size(shape)


def layer_size(shape: Shape) -> int:
    """Weights of one block, without the numbers that mix in the first values and the embedding."""
    into = (2 if shape.activation == "swiglu" else 1) * shape.hidden
    qkv = (shape.heads + 2 * shape.groups) * shape.head_width
    biases = qkv + shape.width + into + shape.width if shape.bias else 0
    return matrices_size(shape) + biases + 2 * _norm_size(shape)


def matrices_size(shape: Shape) -> int:
    """Weights of one block's four matrices."""
    into = (2 if shape.activation == "swiglu" else 1) * shape.hidden
    qkv = (shape.heads + 2 * shape.groups) * shape.head_width
    return shape.width * (qkv + shape.width + into + shape.hidden)


def positions_size(shape: Shape) -> int:
    """Weights of learned positions, which `model_size` leaves out."""
    return shape.context * shape.width if shape.positions == "learned" else 0


def _norm_size(shape: Shape) -> int:
    if shape.norm == "layernorm":
        return shape.width * (2 if shape.bias else 1)
    return shape.width if shape.norm_gain else 0
