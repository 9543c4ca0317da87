"""GPT-2 as nanoGPT computes it: fp32, eager, every operation torch's own; the baseline that time_to_loss.py measures.

    .venv/bin/python bench/plain_gpt2.py [--threads N] [--seconds S]

Run by itself it prints tokens a second of this arithmetic beside the trainer's, for the same architecture.

The recipe is the one of nanoGPT's configuration for characters, without its dropout: AdamW 1e-3 falling to 1e-4 as a
cosine, 100 steps of warm-up, beta2 0.99, weight decay 0.1 on matrices, gradients clipped at 1, 64 x 256 tokens a step.

Axes: B batch, S position, D width, V vocabulary, H heads, K width of one head.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from talweg.schedule import Schedule
from talweg.train.config import Config

# In the words of Talweg's configuration; time_to_loss.py lays each change of the ladder over it.
RECIPE: dict[str, Any] = {
    "model.preset": "nanogpt",
    "model.context": 256,
    "batch.tokens_per_step": 64 * 256,
    "batch.micro_batch": 16,  # nanoGPT takes all 64 at once; on a CPU a quarter at a time is the faster one, for it too
    "optimizer.name": "adamw",
    "optimizer.peak_lr": 1e-3,
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.99,
    "optimizer.weight_decay": 0.1,
    "optimizer.grad_clip": 1.0,
    "schedule.kind": "cosine",
    "schedule.warmup_steps": 100,
    "schedule.min_lr": 1e-4,
    "hardware.precision": "fp32",
}

NAMES = {  # of the trainer's weights, and what they are called here
    "attention.qkv": "qkv",
    "attention.out": "attention_out",
    "feed_forward.into": "into",
    "feed_forward.out": "out",
}


class PlainBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width, bias=False)
        self.into = nn.Linear(width, 4 * width, bias=False)
        self.out = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        B, S, D = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).split(D, dim=2)
        q, k, v = (t.view(B, S, self.heads, D // self.heads).transpose(1, 2) for t in (q, k, v))  # B H S K
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_out(y.transpose(1, 2).contiguous().view(B, S, D))
        return x + self.out(functional.gelu(self.into(self.feed_forward_norm(x))))  # type: ignore[no-any-return]


class PlainGPT(nn.Module):
    """Starts from the weights of the trainer's preset nanogpt, whose initialisation is nanoGPT's, so that both can be
    compared step by step."""

    def __init__(self, layers: int, heads: int, width: int, context: int, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(PlainBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """tokens, targets (B, S) -> mean nats per token."""
        x = self.embedding(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = functional.linear(self.norm(x), self.embedding.weight)
        return functional.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """The named weights of a `talweg.model.gpt.GPT` of preset nanogpt."""
        self.load_state_dict({_renamed(name): value for name, value in weights.items() if not name.startswith("head.")})


def _renamed(name: str) -> str:
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def give_back(model: PlainGPT, trainer_model: nn.Module) -> None:
    """The weights into the trainer's model, so that both sides are evaluated by the same function."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in trainer_model.named_parameters():
            parameter.copy_(own[_renamed(name)])


@dataclass(frozen=True)
class Trained:
    """Times are of the updates alone: batches, forward, backward, clipping, AdamW."""

    model: PlainGPT
    losses: list[float]  # of each step, nats per token
    seconds: float
    cpu_seconds: float


def train(
    config: Config,
    weights: Mapping[str, Tensor],
    batch: Callable[[int, int], tuple[NDArray[np.int64], NDArray[np.int64]]],
    schedule: Schedule,
    steps: int,
) -> Trained:
    """Train from `weights` for so many steps.

    config: a resolved one of preset nanogpt. batch: (first, count) -> windows first .. first + count - 1 as inputs and
    targets (count, S), in the order in which the trainer reads them.
    """
    shape, vocabulary = config.model, config.model.vocabulary_size
    assert vocabulary is not None
    model = PlainGPT(shape.layers, shape.heads, shape.width, shape.context, vocabulary)
    model.load(weights)
    sequences, micro_batch = config.batch.tokens_per_step // shape.context, config.batch.micro_batch or 1
    optimizer = adamw(model, config)
    losses = []
    begin, cpu = time.perf_counter(), time.process_time()
    for step in range(steps):
        inputs, targets = (torch.from_numpy(array) for array in batch(step * sequences, sequences))
        total = 0.0
        for first in range(0, sequences, micro_batch):
            part = slice(first, first + micro_batch)
            loss = model(inputs[part], targets[part]) * (inputs[part].shape[0] / sequences)
            loss.backward()
            total += float(loss.detach())
        nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.grad_clip)
        for group in optimizer.param_groups:
            group["lr"] = float(schedule.at(step))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(total)
    return Trained(model, losses, time.perf_counter() - begin, time.process_time() - cpu)


def adamw(model: nn.Module, config: Config) -> torch.optim.AdamW:
    """torch's own, with decay on what has two axes."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    chosen, rate = config.optimizer, config.optimizer.peak_lr or 0.0
    groups = [{"params": decayed, "weight_decay": chosen.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(chosen.beta1, chosen.beta2))


def main() -> None:
    """Tokens a second on random tokens: this arithmetic, preset nanogpt in fp32 and in bf16, one after another."""
    from trainer import MODELS, RandomText, configuration, measured

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring, for each figure")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"{'model':<8}{'plain fp32':>12}{'trainer fp32':>14}{'trainer bf16':>14}  tokens/s, {arguments.threads} threads"
    )
    for name, changes in MODELS.items():
        values = {**RECIPE, **changes, "batch.tokens_per_step": 8192, "schedule.warmup_steps": 0}
        del values["hardware.precision"]
        config = configuration(values, "fp32", arguments.threads)
        plain = _rate(config, RandomText(256, config.model.vocabulary_size or 0), arguments.seconds)
        ours = [measured(configuration(values, p, arguments.threads), arguments.seconds).best for p in ("fp32", "bf16")]
        print(f"{name:<8}{plain:>12,.0f}{ours[0]:>14,.0f}{ours[1]:>14,.0f}", flush=True)


def _rate(config: Config, text: Any, seconds: float) -> float:
    """Tokens a second of the fastest step."""
    from talweg.train.start import fresh

    weights = {name: p.detach() for name, p in fresh(config).model.named_parameters()}

    def batch(first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        windows = text.batch(first, count)
        return windows.inputs, windows.targets

    constant = Schedule("constant", 1e-3, 0.0, 0, 1)
    best, spent = float("inf"), 0.0
    while spent < seconds:
        one = train(config, weights, batch, constant, 2)
        best, spent = min(best, one.seconds / 2), spent + one.seconds
    return config.batch.tokens_per_step / best


if __name__ == "__main__":
    main()
