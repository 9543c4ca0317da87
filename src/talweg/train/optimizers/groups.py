"""The parameters of a model by what they do: each group has a name, a learning-rate factor and its weight decay.

    matrices    of the blocks; with weight decay
    embedding   of tokens and positions, and a head that is tied to them; with weight decay
    head        where it is not tied; with weight decay
    vectors     gains of norms, biases: pulling a gain to zero has no meaning as a prior
    scalars     learned mixing weights of a single number

A factor of 1 means `optimizer.peak_lr` itself. With `optimizer.base_width` the factor of the hidden matrices is that
of a model of the base width, so that the best peak_lr of a narrow model is that of a wide one:

    AdamW   base_width / width          its update moves each weight by about the rate, whatever the fan-in, so that
                                        outputs would move in proportion to the width (Yang et al. 2022, table 3)
    Muon    sqrt(base_width / width)    its update has the RMS of AdamW's but is orthogonal: its spectral norm grows
                                        with the root of the width only (Bernstein and Newhouse 2024)
"""

from dataclasses import dataclass

from torch import nn

from talweg.train.config import OptimizerConfig

NAMES = ("matrices", "embedding", "head", "vectors", "scalars")
EMBEDDINGS = ("embedding", "positions")  # modules of the model whose rows are looked up


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that are treated alike."""

    name: str
    parameters: dict[str, nn.Parameter]  # by name, in the model's order
    lr_factor: float
    weight_decay: float


def split(model: nn.Module, config: OptimizerConfig) -> list[Group]:
    """The groups that are not empty; a tied head comes once, as the embedding."""
    members: dict[str, dict[str, nn.Parameter]] = {name: {} for name in NAMES}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            members[_group(name, parameter)][name] = parameter
    factors = {
        "matrices": hidden_factor(config, _width(model)),
        "embedding": 1.0 if config.embedding_lr_factor is None else config.embedding_lr_factor,
        "head": config.head_lr_factor,
        "vectors": config.vector_lr_factor,
        "scalars": config.scalar_lr_factor,
    }
    decayed = {"matrices", "embedding", "head"}
    return [
        Group(name, members[name], factors[name], config.weight_decay if name in decayed else 0.0)
        for name in NAMES
        if members[name]
    ]


def hidden_factor(config: OptimizerConfig, width: int) -> float:
    """What the learning rate of the hidden matrices is multiplied by at this width; 1 without a base width."""
    if not config.base_width:
        return 1.0
    ratio = config.base_width / width
    return ratio**0.5 if config.name == "muon" else ratio


def _group(name: str, parameter: nn.Parameter) -> str:
    if parameter.ndim < 2:
        return "scalars" if parameter.numel() == 1 or _is_mixing(name) else "vectors"
    first = name.partition(".")[0]
    return "embedding" if first in EMBEDDINGS else "head" if first == "head" else "matrices"


def _is_mixing(name: str) -> bool:
    """A bare parameter of a block or of the model, neither a module's weight nor its bias."""
    return not name.endswith((".weight", ".bias", ".gain"))


def _width(model: nn.Module) -> int:
    shape = getattr(model, "shape", None)
    return int(shape.width) if shape is not None else 1
