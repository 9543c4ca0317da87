"""What a batch off the best one costs, counted again from the StepLaw grid. Run it: python bench/batch.py

Each (N, D) cell of final losses over learning rate and batch: the best rate of each batch, a parabola through the best
three; the best batch likewise. Prints, by octaves off the law's best batch, the cost in nats and the tokens lost for
each that counts (laws.batch.EXCESS), and how well either tells a cell that was left out.
"""

import csv
import math
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from talweg.laws import batch, size

SHARED = Path(os.environ.get("TALWEG_SHARED", Path(__file__).resolve().parents[2] / "shared"))
TABLE = "data/curves/tables/steplaw__dense_lr_bs_loss.csv"
CONTEXT = 2048  # tokens in one sequence of the grid
OCTAVES = np.arange(-4, 5)
FEWEST = 4  # learning rates of a batch, for its best to be one
Cell = tuple[float, float]  # parameters, tokens


def cells() -> dict[Cell, tuple[np.ndarray, np.ndarray, float]]:  # type: ignore[type-arg]
    """By cell: log2 of the batches in tokens, the best loss of each, the loss of the best batch."""
    grid: dict[Cell, dict[float, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    with (SHARED / TABLE).open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            cell = float(row["N"]), round(float(row["D"]) / 1e9, 1) * 1e9
            point = math.log2(float(row["lr"])), float(row["smooth loss"])
            grid[cell][math.log2(CONTEXT * float(row["bs"]))].append(point)
    found = {}
    for cell, batches in grid.items():
        best = {b: lowest(sorted(points)) for b, points in batches.items() if len(points) >= FEWEST}
        order = np.array(sorted(best))
        found[cell] = order, np.array([best[b] for b in order]), lowest([(b, best[b]) for b in order])
    return found


def lowest(points: list[tuple[float, float]]) -> float:
    """The minimum of a parabola through the lowest point and its neighbours; at an edge the lowest point."""
    at = min(range(len(points)), key=lambda i: points[i][1])
    if not 0 < at < len(points) - 1:
        return points[at][1]
    x, y = zip(*points[at - 1 : at + 2], strict=True)
    a, b, c = np.polyfit(x, y, 2)
    return min(float(c - b * b / (4 * a)), points[at][1])


def costs() -> dict[Cell, np.ndarray]:  # type: ignore[type-arg]
    """Nats above the best batch at each of OCTAVES off the law's; NaN where the grid does not reach. (9,) each"""
    out = {}
    for cell, (x, loss, best) in cells().items():
        at = math.log2(batch.optimum(cell[1]).value) + OCTAVES
        out[cell] = np.where((at >= x[0]) & (at <= x[-1]), np.interp(at, x, loss) - best, np.nan)
    return out


def excess(cell: Cell, nats: float) -> float:
    """Tokens lost for each that counts, where the loss is so much higher: by the mean of the size laws."""
    n, d = cell
    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _lost(n, d, middle) < nats else (low, middle)
    return low


def _lost(n: float, d: float, extra: float) -> float:
    return sum(law.loss(n, d / (1 + extra)) - law.loss(n, d) for law in size.LAWS) / len(size.LAWS)


def main() -> None:
    nats = costs()
    table = np.array(list(nats.values()))
    extra = np.array([[excess(c, x) if np.isfinite(x) else np.nan for x in row] for c, row in nats.items()])
    print(f"{len(nats)} cells; octaves off the law's best batch {OCTAVES.tolist()}")
    print("cost in nats: ", np.round(np.nanmedian(table, axis=0), 4))
    print("tokens lost:  ", np.round(np.nanmedian(extra, axis=0), 3))
    for name, values in (("nats", table), ("tokens lost", extra)):
        errors = [
            math.log(np.nanmedian(np.delete(values, i, 0), axis=0)[j] / values[i, j])
            for i in range(len(values))
            for j in np.flatnonzero(np.isfinite(values[i]) & (abs(OCTAVES) >= 2))
        ]
        print(f"left-out cell, two octaves and more: sd of ln(said / measured) {np.nanstd(errors):.2f} for {name}")


if __name__ == "__main__":
    main()
