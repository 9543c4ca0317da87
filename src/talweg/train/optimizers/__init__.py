"""Fused AdamW, Muon and schedule-free AdamW: built from a model by groups, and their state as named tensors.

The update of each has its own file; `groups` says which parameters are treated alike.
"""

from talweg.train.optimizers.choose import NAMES, build
from talweg.train.optimizers.measure import measured_step
from talweg.train.optimizers.rates import learning_rates, set_learning_rate
from talweg.train.optimizers.state import evaluation_weights, restore, state_tensors

__all__ = [
    "NAMES",
    "build",
    "evaluation_weights",
    "learning_rates",
    "measured_step",
    "restore",
    "set_learning_rate",
    "state_tensors",
]
