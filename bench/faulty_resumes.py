"""What faults of a resume, of several ranks and of frozen weights cost: real runs of small models on real text.

    python bench/faulty_resumes.py DATA OUT [--seeds N] [--what resumes epochs ranks frozen]

DATA is a folder of `talweg prepare`. Each fault is planted in a branch of a sound run, so that both share everything up
to the resume, and the same validation text tells the cost. One JSON line for each branch goes to OUT; the tables in
notes/causes_resume.md were made of them.
"""

import argparse
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from talweg.corpus.shards import open_split
from talweg.corpus.windows import Windows
from talweg.model.gpt import GPT, Shape
from talweg.schedule import Schedule

CONTEXT, SEQUENCES, STEPS = 64, 8, 600
SHAPE = {"layers": 2, "heads": 2, "width": 64, "context": CONTEXT, "positions": "learned", "norm": "layernorm"}
CLASSIC = {"activation": "gelu", "initialisation": "gpt2", "qk_norm": False}
PEAK, WARMUP, BETAS = 3e-3, 60, (0.9, 0.95)
EVAL_WINDOWS, EVAL_EVERY = 192, 100
Rate = Callable[[int], float]


@dataclass
class State:
    """What a checkpoint holds, and the place in the text."""

    model: GPT
    optimizer: torch.optim.AdamW
    step: int = 0
    cursor: int = 0
    rows: list[tuple[int, float, float, float]] = field(default_factory=list)  # step, loss, rate, gradient norm
    evals: list[tuple[int, float]] = field(default_factory=list)


class Passes:
    """The first `size` windows of the text, again and again, each time in another order."""

    def __init__(self, windows: Windows, size: int) -> None:
        self.windows, self.size = windows, size

    def batch(self, first: int, count: int) -> Any:
        rows = []
        for at in range(first, first + count):
            order = np.random.default_rng(at // self.size).permutation(self.size)
            rows.append(self.windows.batch(int(order[at % self.size]), 1))
        return _Rows(np.concatenate([r.inputs for r in rows]), np.concatenate([r.targets for r in rows]))


@dataclass(frozen=True, eq=False)
class _Rows:
    inputs: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True, eq=False)
class Text:
    windows: Any
    val: list[tuple[torch.Tensor, torch.Tensor]]


def fresh(seed: int, vocabulary: int, betas: tuple[float, float] = BETAS) -> State:
    torch.manual_seed(seed)
    model = GPT(Shape(**SHAPE, **CLASSIC, vocabulary_size=vocabulary))  # type: ignore[arg-type]
    return State(model, adam(model, betas))


def adam(model: GPT, betas: tuple[float, float]) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK, betas=betas, fused=True)


def evaluate(state: State, text: Text) -> float:
    with torch.no_grad():
        total = sum(float(state.model.total_loss(x, y)) for x, y in text.val)
    return total / sum(y.numel() for _, y in text.val)


def go(state: State, text: Text, last: int, rate: Rate, sequences: int = SEQUENCES) -> State:
    """Train up to step `last`."""
    while state.step < last:
        if state.step % EVAL_EVERY == 0:
            state.evals.append((state.step, evaluate(state, text)))
        batch = text.windows.batch(state.cursor, sequences)
        inputs, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
        loss = state.model.total_loss(inputs, targets) / targets.numel()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_([p for p in state.model.parameters() if p.requires_grad], 1.0))
        for group in state.optimizer.param_groups:
            group["lr"] = rate(state.step)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.rows.append((state.step, float(loss.detach()), rate(state.step), norm))
        state.step += 1
        state.cursor += sequences
    state.evals.append((state.step, evaluate(state, text)))
    return state


def branch(state: State) -> State:
    """An exact copy that goes on by itself."""
    other = copy.deepcopy(state)
    other.optimizer = adam(other.model, state.optimizer.param_groups[0]["betas"])
    other.optimizer.load_state_dict(copy.deepcopy(state.optimizer.state_dict()))
    return other


def without_moments(state: State, *, keep_count: bool) -> State:
    """The moments are zero; with keep_count the number of updates, and so the bias correction, is that of before."""
    other = branch(state)
    if keep_count:
        for moments in other.optimizer.state.values():
            moments["exp_avg"].zero_()
            moments["exp_avg_sq"].zero_()
    else:
        other.optimizer = adam(other.model, state.optimizer.param_groups[0]["betas"])
    return other


def planned(step: int) -> float:
    return float(Schedule("cosine", PEAK, PEAK / 10, WARMUP, STEPS).at(step))


def resumes(seed: int, text: Text, vocabulary: int, betas: tuple[float, float] = BETAS) -> Iterator[dict[str, Any]]:
    state = fresh(seed, vocabulary, betas)
    name = f"beta2 {betas[1]:g}"
    for at in (150, 300, 450):
        go(state, text, at, planned)
        state.evals.pop()
        lost = {"moments": without_moments(state, keep_count=False)}
        if seed < 2:
            lost["moments, count kept"] = without_moments(state, keep_count=True)
        for arm, other in lost.items():
            yield told(go(other, text, STEPS, planned), arm, name, seed, at)
        if betas == BETAS:
            restarted = go(branch(state), text, STEPS, lambda step, at=at: planned(step - at))  # type: ignore[misc]
            yield told(restarted, "schedule", name, seed, at)
            again = branch(state)
            again.cursor = 0
            yield told(go(again, text, STEPS, planned), "data", name, seed, at)
    yield told(go(state, text, STEPS, planned), "sound", name, seed, 0)


def epochs(seed: int, text: Text, vocabulary: int) -> Iterator[dict[str, Any]]:
    """Several passes over a small text: a resume begins the pass anew, or goes back to the first."""
    small = Text(Passes(text.windows, 200 * SEQUENCES), text.val)
    state = fresh(seed, vocabulary)
    for at in (300, 350, 500):
        go(state, small, at, planned)
        state.evals.pop()
        for arm, cursor in (("pass anew", at * SEQUENCES // small.windows.size * small.windows.size), ("data", 0)):
            other = branch(state)
            other.cursor = cursor
            yield told(go(other, small, STEPS, planned), arm, "3 passes", seed, at)
    yield told(go(state, small, STEPS, planned), "sound", "3 passes", seed, 0)


def ranks(seed: int, text: Text, vocabulary: int) -> Iterator[dict[str, Any]]:
    """The whole batch against 1/N of it at the same learning rates: what one of N ranks gets alone."""
    for peak in (PEAK, PEAK / 3):
        for num in (1, 2, 4, 8):
            state = fresh(seed, vocabulary)
            go(state, text, STEPS, lambda step, peak=peak: planned(step) * peak / PEAK, 16 // num)  # type: ignore[misc]
            yield told(state, f"1/{num}", f"peak {peak:g}", seed, 0)


def frozen(seed: int, text: Text, vocabulary: int) -> Iterator[dict[str, Any]]:
    kinds: dict[str, Callable[[str], bool]] = {
        "none": lambda name: False,
        "embedding": lambda name: name.startswith(("embedding", "positions")),
        "first block": lambda name: name.startswith("blocks.0."),
        "both blocks": lambda name: name.startswith("blocks."),
        "attention": lambda name: "attention" in name or "attn" in name,
        "norms": lambda name: "norm" in name,
        "all but norms": lambda name: "norm" not in name,
    }
    for kind, is_frozen in kinds.items():
        state = fresh(seed, vocabulary)
        for name, parameter in state.model.named_parameters():
            parameter.requires_grad_(not is_frozen(name))
        total = sum(p.numel() for p in state.model.parameters())
        moving = sum(p.numel() for p in state.model.parameters() if p.requires_grad)
        yield told(go(state, text, STEPS, planned), kind, "frozen", seed, 0) | {"share": moving / total, "n": total}


def told(state: State, arm: str, kind: str, seed: int, at: int) -> dict[str, Any]:
    """`rows` from the resume on are those of the branch."""
    return {"arm": arm, "kind": kind, "seed": seed, "at": at, "evals": state.evals, "rows": state.rows}


def opened(data: Path, seed: int) -> Text:
    windows = Windows(open_split(data, "train"), CONTEXT, seed)
    val = Windows(open_split(data, "val"), CONTEXT, 0)
    batches = [val.batch(first, 64) for first in range(0, EVAL_WINDOWS, 64)]
    return Text(windows, [(torch.from_numpy(b.inputs), torch.from_numpy(b.targets)) for b in batches])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--what", nargs="+", default=["resumes", "epochs", "ranks", "frozen"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    vocabulary = json.loads((given.data / "manifest.json").read_text())["tokenizer"]["vocabulary_size"]
    with given.out.open("a", encoding="utf-8") as file:
        for what in given.what:
            for seed in given.seeds:
                text = opened(given.data, seed)
                runs = {"resumes": resumes, "epochs": epochs, "ranks": ranks, "frozen": frozen}
                if what == "beta2":
                    found = resumes(seed, text, vocabulary, (0.9, 0.999))
                else:
                    found = runs[what](seed, text, vocabulary)
                for line in found:
                    file.write(json.dumps(line) + "\n")
                    file.flush()
                    print(line["arm"], line["kind"], seed, line["at"], round(line["evals"][-1][1], 4), flush=True)


if __name__ == "__main__":
    main()
