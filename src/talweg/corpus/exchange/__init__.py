"""Tokens in the formats of other trainers: what goes out to them and what comes in, a block at a time.

One file a format. `export` writes a data folder for nanoGPT, llm.c or datatrove; `import_tokens` makes a data folder of
what nanoGPT and llm.c hold, so that it can be trained on and diagnosed like any other.
"""

from talweg.corpus.exchange.importing import holds_tokens, import_tokens
from talweg.corpus.exchange.outgoing import FORMATS, Exported, export

__all__ = ["FORMATS", "Exported", "export", "holds_tokens", "import_tokens"]
