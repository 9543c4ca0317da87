"""Other people's checkpoints, in and out: nanoGPT's ckpt.pt, and folders as HF transformers writes them.

`open_model(path)` opens any of them and our own, `export_model` writes them, `initial.adopt` starts a training run from
one. Each file's docstring says what its format can hold; what it cannot is refused, each option by name.
"""
