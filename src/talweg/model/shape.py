"""What the model is made of. Imports no torch, so that a configuration or a memory model can ask it for sizes.

The defaults are those of the oldest checkpoints: an option that one of them does not name has the value it has here.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Norm = Literal["rmsnorm", "layernorm"]
Positions = Literal["rope", "learned"]
Activation = Literal["relu2", "gelu", "gelu_tanh", "swiglu"]
Initialisation = Literal["zero_out", "gpt2"]

EPSILON = {"rmsnorm": 1e-6, "layernorm": 1e-5}  # where none is given; 1e-5 is that of GPT-2
SWIGLU_MULTIPLE = 16  # matrix units work in tiles of this width


@dataclass(frozen=True)
class Shape:
    """The model's own description. None takes the value of the property beside it: groups, hidden, epsilon."""

    layers: int
    heads: int
    width: int
    context: int
    vocabulary_size: int
    norm: Norm = "rmsnorm"
    positions: Positions = "rope"
    activation: Activation = "relu2"
    qk_norm: bool = True
    initialisation: Initialisation = "zero_out"
    tied_head: bool = True
    bias: bool = False
    dropout: float = 0.0
    document_mask: bool = False  # whoever calls the model gives it the documents of the targets
    kv_heads: int | None = None
    feed_forward_width: int | None = None
    norm_gain: bool = False
    norm_epsilon: float | None = None
    rope_base: float = 10_000.0  # Su et al. 2021
    value_residual: bool = False
    x0_shortcut: bool = False
    logit_softcap: float = 0.0

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def groups(self) -> int:
        """Heads of keys and values: as many as of queries where nothing else is said."""
        return self.kv_heads or self.heads

    @property
    def hidden(self) -> int:
        """Width within the feed-forward: 4 times that of the stream; with swiglu, which has three matrices instead of
        two, 8 / 3 times, so that the weights stay as many (Shazeer 2020)."""
        wide = 4 * self.width
        if self.activation == "swiglu":
            wide = max(round(8 * self.width / 3 / SWIGLU_MULTIPLE), 1) * SWIGLU_MULTIPLE
        return self.feed_forward_width or wide

    @property
    def epsilon(self) -> float:
        """Under the root of every norm."""
        return self.norm_epsilon or EPSILON[self.norm]


# A preset lies below what is given: talweg is what the defaults of the configuration are.
PRESETS: dict[str, dict[str, Any]] = {
    "talweg": {},
    "nanogpt": {
        "norm": "layernorm",
        "positions": "learned",
        "activation": "gelu",
        "qk_norm": False,
        "initialisation": "gpt2",
        "tied_head": True,
        "bias": False,
        "dropout": 0.0,
        "kv_heads": None,
        "feed_forward_width": None,
        "norm_gain": False,
        "norm_epsilon": 1e-5,
        "value_residual": False,
        "x0_shortcut": False,
        "logit_softcap": 0.0,
    },
}


def from_values(values: Mapping[str, Any]) -> Shape:
    """The shape in dotted values, e.g. {"model.layers": 4, ...}; keys that are none of the model's are passed over."""
    known = {f"model.{f.name}" for f in fields(Shape)}
    return Shape(**{key.removeprefix("model."): value for key, value in values.items() if key in known})


def begun_with(values: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted configuration in a checkpoint, completed by what older versions did not write into it: options that
    they did not have, and the "gelu" of theirs under the name that its tanh form has since."""
    if "model.kv_heads" in values:
        return dict(values)
    if values.get("model.activation") == "gelu":
        values = {**values, "model.activation": "gelu_tanh"}
    shape = from_values(values)
    options = {**asdict(shape), "kv_heads": shape.groups, "feed_forward_width": shape.hidden}
    return {
        **{f"model.{name}": value for name, value in options.items()},
        "model.norm_epsilon": shape.epsilon,
        **values,
    }
