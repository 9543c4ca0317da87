"""What a training step needs at its peak, in bytes, computed from the configuration. Imports no torch.

The peak is the largest of three moments of the last micro-batch of an update:

    head   the forward pass is done: everything that backward needs is kept, and the head works on its logits
    layer  the last layer's backward pass: as much is kept, and the intermediate gradients of one layer are alive
    tail   the backward pass is done: nothing is kept any more, but every gradient is there

A tensor of T tokens and width D takes T x D x e bytes, e = 4 in fp32 and 2 under autocast. The list of what a layer
keeps follows `model/gpt.py` and `model/kernels.py` line by line; tests/train/test_memory.py holds it against the
tensors that autograd saves, and bench/memory.py the sum against the peak of a process.
"""

from dataclasses import dataclass

from talweg.model.limits import LONGEST_PLAIN, rows_at_a_time
from talweg.model.shape import Shape, from_values
from talweg.train.config import Config, items
from talweg.train.model_size import matrices_size, model_size, positions_size

MOMENTS = {"adamw": 8, "muon": 8, "schedule_free": 8}  # bytes a weight, in fp32
MUON = 4  # of the matrices of the blocks, which have one moment only

# What the allocator holds without using it, as a share of what comes and goes (activations, work). On a CPU: holes that
# the C library's heap leaves between blocks of changing sizes, measured with blocks of 4 and of 2 bytes a number
# (notes/machine.md). CUDA's caching allocator: our choice.
HOLES = {"cpu": {4: 0.4, 2: 0.3}, "cuda": {4: 0.1, 2: 0.1}, "mps": {4: 0.1, 2: 0.1}}
BASE = {"cpu": 15 << 20, "cuda": 500 << 20, "mps": 100 << 20}  # of libraries at their first use; a CUDA context


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak, by owner."""

    weights: int  # in fp32
    gradients: int
    optimizer: int  # its moments
    casts: int  # weights in the dtype of the products
    activations: int  # what forward leaves for backward
    work: int  # logits, intermediate gradients: what comes and goes
    allocator: int  # what the allocator holds without using it
    base: int  # what the libraries take beside all tensors

    @property
    def total(self) -> int:
        return sum(vars(self).values())


def predict(config: Config, micro_batch: int | None = None) -> Memory:
    """The peak of a training step of a resolved configuration. micro_batch: in place of the configuration's."""
    shape, device = from_values(items(config)), config.hardware.device
    sequences = config.sequences_per_step
    micro_batch = min(micro_batch or config.batch.micro_batch or sequences, sequences)
    e = 4 if config.hardware.precision == "fp32" else 2
    tokens, weights = micro_batch * shape.context, model_size(config) + positions_size(shape)
    table = shape.vocabulary_size * shape.width
    kept = activations(shape, micro_batch, e, device)
    casts = 0 if e == 4 else e * shape.layers * matrices_size(shape)
    # The gradient of each micro-batch is made apart from the sum of those before it (update.accumulate).
    before = 4 * weights if micro_batch < sequences else 0
    head = (kept + casts + before, logits_bytes(shape, tokens, e, device))
    layer = (kept + casts + before, 4 * table + _layer_work(shape, micro_batch, e, device))
    tail = (before + 4 * weights, 4 * table * (2 if shape.tied_head else 1))
    moment = max(head, layer, tail, key=sum)
    at_tail = moment is tail
    comes_and_goes = moment[1] + (0 if at_tail else kept)
    return Memory(
        weights=4 * weights,
        gradients=before + (4 * weights if at_tail else 0),
        optimizer=_moments(config, shape, weights),
        casts=0 if at_tail else casts,
        activations=0 if at_tail else kept,
        work=moment[1],
        allocator=round(HOLES[device][e] * comes_and_goes),
        base=BASE[device],
    )


def _moments(config: Config, shape: Shape, weights: int) -> int:
    """What the optimizer keeps, and the moving average of the weights."""
    optimizer = config.optimizer
    moments = MOMENTS[optimizer.name] * weights
    if optimizer.name == "muon":
        moments += (MUON - MOMENTS["muon"]) * shape.layers * matrices_size(shape)
    return moments + (4 * weights if optimizer.average_decay else 0)


def activations(shape: Shape, micro_batch: int, e: int, device: str) -> int:
    """Bytes that the forward pass leaves for backward, but for the logits: the residual stream's dtype has e bytes."""
    tokens = micro_batch * shape.context
    norms = 2 * shape.layers + 1
    layers = shape.layers * (_attention(shape, micro_batch, e, device) + _feed_forward(shape, tokens, e))
    dropped = (2 * shape.layers + 1) * tokens * shape.width * (e if device == "cpu" else 1) if shape.dropout else 0
    mixed = _mixed(shape, micro_batch, e, device)
    return norms * _norm(shape, tokens, e, device) + layers + dropped + mixed + 3 * 8 * tokens  # 3: ids and targets


def _norm(shape: Shape, tokens: int, e: int, device: str) -> int:
    """One norm and its result, which the matrix after it keeps."""
    D = shape.width
    if shape.norm == "layernorm":
        if device == "cpu":
            return tokens * (2 * D * e + 8)
        return tokens * (D * 4 + D * e + 8)  # autocast computes it in fp32 there
    return tokens * ((2 if shape.norm_gain else 1) * D * e + e)


def _attention(shape: Shape, micro_batch: int, e: int, device: str) -> int:
    tokens = micro_batch * shape.context
    H, G, K = shape.heads, shape.groups, shape.head_width
    kept = tokens * H * K * e  # what the output projection reads
    if shape.positions == "rope" or shape.qk_norm:
        kept += tokens * (H + G) * (K * e + ((4 if shape.positions == "rope" else e) if shape.qk_norm else 0))
    if plain_attention(shape, e, device):
        weights = micro_batch * H * shape.context**2 * e
        return kept + tokens * (H + 2 * G) * K * e + weights * (3 if shape.dropout else 1)
    kept += tokens * (H + 2 * G) * K * e + 4 * tokens * H
    if shape.document_mask:
        kept += micro_batch * shape.context**2 * e  # as numbers that are added to the scores
    return kept


def plain_attention(shape: Shape, e: int, device: str) -> bool:
    """Whether `kernels.causal_attention` is three products, whose weights of S x S are kept."""
    return device == "cpu" and (shape.dropout > 0 or (e == 2 and shape.context <= LONGEST_PLAIN))


def _mixed(shape: Shape, micro_batch: int, e: int, device: str) -> int:
    """What mixing keeps in all layers: the streams and the embedding; the values, and those of the first layer."""
    tokens = micro_batch * shape.context
    kept = shape.layers * tokens * shape.width * e if shape.x0_shortcut else 0
    if shape.value_residual:
        values = shape.groups * shape.head_width
        if plain_attention(shape, e, device):  # which copies: what is mixed are views of all that qkv gave
            kept += shape.layers * tokens * e * (shape.heads * shape.head_width + 2 * values)
        else:
            kept += (shape.layers - 1) * tokens * e * values
    return kept


def _feed_forward(shape: Shape, tokens: int, e: int) -> int:
    """What goes into the activation and what comes out."""
    return tokens * shape.hidden * e * (3 if shape.activation == "swiglu" else 2)


def _layer_work(shape: Shape, micro_batch: int, e: int, device: str) -> int:
    """Intermediate gradients of one block at their most."""
    tokens = micro_batch * shape.context
    forward = tokens * e * (3 * shape.width + 2 * shape.hidden * (2 if shape.activation == "swiglu" else 1))
    attention = tokens * e * (2 * shape.width + 3 * (shape.heads + 2 * shape.groups) * shape.head_width)
    if plain_attention(shape, e, device):
        attention += 2 * micro_batch * shape.heads * shape.context**2 * e
    return max(forward, attention)


def logits_bytes(shape: Shape, tokens: int, e: int, device: str) -> int:
    """What the head and the loss hold at their most: the logits of a part of the tokens, and the gradients of the
    features and of the head, which `cross_entropy` computes with them."""
    table, V = shape.vocabulary_size * shape.width, shape.vocabulary_size
    rows = min(rows_at_a_time(V, device), tokens)
    in_parts = 1 if rows < tokens else 0  # each part's gradient of the head is added to the sum
    copies = 2 * e if e == 2 else 4 * in_parts  # of the head: its cast and one part's gradient
    logits = rows * V * (e if device == "cpu" else e + 8)  # a GPU has all of a part in fp32 too
    return logits + tokens * shape.width * e + table * (4 + copies)
