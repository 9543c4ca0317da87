"""Other people's checkpoints, in and out: nanoGPT's ckpt.pt, and folders as HF transformers writes them.

`open_model(path)` opens any of them and our own, `export_model` writes them, `initial.adopt` starts a training run from
one. Each file's docstring says what its format can hold; what it cannot is refused, each option by name.
"""

from talweg.train.exchange.opening import LoadedModel, open_model
from talweg.train.exchange.outgoing import ExportedModel, export_model

__all__ = ["ExportedModel", "LoadedModel", "export_model", "open_model"]
