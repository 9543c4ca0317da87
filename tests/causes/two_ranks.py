"""Two processes that train a table of pairs together: python -m tests.causes.two_ranks RANK STORE OUT.

Every combination of averaging the gradients or not, and of batches of their own or one for both. Rank 0 writes, by
combination, the losses of both ranks (T, 2) and how far their weights are apart (T,).
"""

import json
import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn import functional

VOCABULARY, BATCH, STEPS = 16, 64, 60


def train(rank: int, *, averaged: bool, shared: bool) -> tuple[list[list[float]], list[float]]:
    """A softmax over pairs, plain SGD with momentum; tokens of a fixed chain."""
    chain = torch.rand(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(0)) ** 4
    draw = torch.Generator().manual_seed(1 if shared else 1 + rank)
    table = torch.zeros(VOCABULARY, VOCABULARY, requires_grad=True)
    optimizer = torch.optim.SGD([table], lr=1.0, momentum=0.9)
    losses: list[list[float]] = []
    apart: list[float] = []
    for _ in range(STEPS):
        inputs = torch.randint(VOCABULARY, (BATCH,), generator=draw)
        targets = torch.multinomial(chain[inputs], 1, generator=draw).squeeze(1)
        loss = functional.cross_entropy(table[inputs], targets)
        optimizer.zero_grad()
        loss.backward()
        if averaged:
            distributed.all_reduce(table.grad)
            table.grad /= 2
        optimizer.step()
        losses.append(_gathered(loss.detach()).tolist())
        both = _gathered(table.detach().flatten())
        apart.append(float((both[0] - both[1]).norm() / both.mean(0).norm().clamp_min(1e-12)))
    return losses, apart


def _gathered(mine: torch.Tensor) -> torch.Tensor:
    both = [torch.empty_like(mine) for _ in range(2)]
    distributed.all_gather(both, mine)
    return torch.stack(both)


def main() -> None:
    rank, store, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    found = {
        f"{'averaged' if averaged else 'alone'}, {'shared' if shared else 'own'}": train(
            rank, averaged=averaged, shared=shared
        )
        for averaged in (True, False)
        for shared in (True, False)
    }
    if rank == 0:
        out.write_text(json.dumps(found), encoding="utf-8")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
