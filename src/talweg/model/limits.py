"""How much the kernels take at a time. Imports no torch, so that a configuration's memory can be told without it."""

LONGEST_PLAIN = 512  # positions up to which plain attention in bf16 is the faster one on a CPU with matrix units

# Logits of a part, and the fewest tokens in one. Each part adds to the (V, D) gradient of the weight: on a CPU with
# V = 4,096 parts of 128 tokens cost 15 % more than one part, of 256 4 %, of 512 and more nothing (notes/model.md).
LOGITS = {"cpu": 2**25, "cuda": 2**26, "mps": 2**25}
LEAST = {"cpu": 512, "cuda": 1024, "mps": 512}


def rows_at_a_time(vocabulary_size: int, device: str) -> int:
    """Tokens whose logits are held at once."""
    kind = device if device in LOGITS else "cpu"
    return max(LOGITS[kind] // vocabulary_size, LEAST[kind])
