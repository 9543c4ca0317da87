"""How many weights a configuration has, counted without building the model. Imports no torch."""

from talweg.train.config import Config


def model_size(config: Config) -> int:
    """All weights, a tied head once, without position embeddings: what `GPT.num_parameters` says."""
    model = config.model
    assert model.vocabulary_size is not None, "the vocabulary is not known yet"
    vocabulary = model.vocabulary_size * model.width * (1 if model.tied_head else 2)
    return vocabulary + model.layers * layer_size(config) + norm_size(config)


def layer_size(config: Config) -> int:
    """Weights of one block: attention, feed-forward, and the norms before each."""
    model = config.model
    D, hidden = model.width, 4 * model.width
    matrices = 3 * D * D + D * D + 2 * D * hidden
    biases = 3 * D + D + hidden + D if model.bias else 0
    return matrices + biases + 2 * norm_size(config)


def norm_size(config: Config) -> int:
    """Weights of one norm."""
    model = config.model
    return 0 if model.norm == "rmsnorm" else model.width * (2 if model.bias else 1)


def positions_size(config: Config) -> int:
    """Weights of learned positions, which `model_size` leaves out."""
    model = config.model
    return model.context * model.width if model.positions == "learned" else 0
