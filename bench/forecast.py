"""Accuracy of the forecast on public runs: the rest of the same run from its first part, beside two baselines.

    .venv/bin/python bench/forecast.py [SHARED]      SHARED holds data/curves (default ../shared)

Prints, by family and share of the run seen: RMSE of the rest, mean absolute error of the last value, mean sd of the
forecast, share of last values within the 80 % interval; and RMSE of "the last value stays" and of a power law in steps.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from talweg.laws import annealing, forecast

Array = np.ndarray
NOISE_SD = 0.003  # nats; a fixed validation set


def runs(shared: Path) -> dict[str, list[tuple[Array, Array, Array]]]:
    """(step, loss, rate) of each run, by family."""
    families: dict[str, list[tuple[Array, Array, Array]]] = {}
    for file in sorted((shared / "data/curves/olmo_ladder").glob("*.csv")):
        names = ("_step", "eval/c4_en-validation/CrossEntropyLoss", "optim/learning_rate_group0")
        families.setdefault("OLMo ladder, cosine", []).append(columns(file, names))
    for file in sorted((shared / "data/curves/multipowerlaw").glob("*.csv")):
        kind = file.stem.split("__")[1].split("_")[0]
        families.setdefault(f"multi-power-law, {kind}", []).append(columns(file, ("step", "loss", "lr")))
    return families


def columns(file: Path, names: tuple[str, str, str]) -> tuple[Array, Array, Array]:
    with file.open() as opened:
        rows = [row for row in csv.DictReader(opened) if row[names[1]]]
    step, loss, rate = (np.array([float(row[name]) for row in rows]) for name in names)
    return step, loss, rate


def score(run: tuple[Array, Array, Array], share: float) -> tuple[float, ...]:
    step, loss, rate = run
    end = float(step[-1])
    grid = annealing.grid(end)
    rates = np.interp(grid, np.append(0, step), np.append(0, rate))
    path = annealing.path(grid, rates, annealing.memory(grid, rates))
    seen = step <= share * end
    fit = forecast.fit(step[seen], loss[seen], path, noise_sd=NOISE_SD)
    assert fit is not None
    mean, sd = fit.on(path, step[~seen])
    sd = np.sqrt(sd**2 + NOISE_SD**2)
    rest = loss[~seen]
    miss = mean - rest
    return (
        rms(miss),
        abs(float(miss[-1])),
        float(sd[-1]),
        float(abs(miss[-1]) <= 1.2816 * sd[-1]),
        rms(loss[seen][-1] - rest),
        rms(power_law(step[seen], loss[seen], step[~seen]) - rest),
    )


def power_law(step: Array, loss: Array, ahead: Array) -> Array:
    """L0 + A s^-alpha by least squares on a grid of alpha, from 5 % of the steps on."""
    use = step >= 0.05 * step[-1]
    best = (np.inf, ahead)
    for alpha in np.linspace(0.1, 1.5, 57):
        design = np.stack([np.ones(use.sum()), step[use] ** -alpha], axis=1)
        solution, *_ = np.linalg.lstsq(design, loss[use], rcond=None)
        misfit = float(((design @ solution - loss[use]) ** 2).sum())
        if misfit < best[0]:
            best = (misfit, solution[0] + solution[1] * ahead**-alpha)
    return best[1]


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(x**2)))


def main() -> None:
    shared = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2] / "shared")
    print(f"{'family':28s} seen  runs   rmse    |end|   sd(end)  in 80 %   last value  power law")
    for family, members in runs(shared).items():
        for share in (0.3, 0.5, 0.7, 0.85):
            mean = np.mean([score(run, share) for run in members], axis=0)
            print(
                f"{family:28s} {share:4.2f}  {len(members):4d}  {mean[0]:.4f}  {mean[1]:.4f}  {mean[2]:.4f}"
                f"   {mean[3]:6.0%}      {mean[4]:.4f}      {mean[5]:.4f}"
            )


if __name__ == "__main__":
    main()
