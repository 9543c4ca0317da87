"""Accuracy of the forecast on public runs, out of sample: the prior's constants are fitted without the size at hand.

    .venv/bin/python bench/forecast.py [--write] [SHARED]      SHARED holds data/curves (default ../shared)

Three tables. The rest of a run from its first part, by family: RMSE of the rest, mean absolute error of the end, and
the same of "the last value stays" and of a power law in steps. Calibration: the share of ends, and of points of the
rest (in ten blocks), within the 50, 80 and 95 % intervals. Held-out schedules: the law fitted to three runs of one
size, tried on six others. Then the prior of g as `laws/gain.py` states it, fitted anew to all runs. `--write` writes
the figures to docs/accuracy.json, from which docs/science.md has its tables.
"""

import csv
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from talweg.laws import annealing, forecast, gain

Array = np.ndarray
NOISE_SD = 0.001  # nats; of a fixed validation set, as the curves themselves show it
CUTS = (0.3, 0.5, 0.7, 0.9)
SIGMAS = {0.5: 0.6745, 0.8: 1.2816, 0.95: 1.96}
FITTED = ("cosine_24000", "constant_24000", "wsdcon_9")
HELD_OUT = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdcon_3", "wsdcon_18", "wsdld_20000_24000")


@dataclass(frozen=True, eq=False)
class Public:
    """One public run: its curve, its rate, and what its name says of it."""

    family: str
    size: str
    name: str
    step: Array
    loss: Array
    rate: Array
    parameters: float
    tokens_per_step: float

    @property
    def path(self) -> annealing.Path:
        grid = annealing.grid(float(self.step[-1]))
        rates = np.interp(grid, np.append(0, self.step), np.append(0, self.rate))
        return annealing.path(grid, rates, annealing.complete(grid, rates))


def runs(shared: Path) -> list[Public]:
    """OLMo ladder: D = 20 N x its multiple of Chinchilla. Multi-power-law: about half a million tokens an update."""
    found = []
    for file in sorted((shared / "data/curves/olmo_ladder").glob("*.csv")):
        size, multiple = file.stem.split("-")[:2]
        columns = ("_step", "eval/c4_en-validation/CrossEntropyLoss", "optim/learning_rate_group0")
        step, loss, rate = _columns(file, columns)
        n = float(size[:-1]) * {"M": 1e6, "B": 1e9}[size[-1]]
        batch = 20 * n * float(multiple.split("x")[0]) / step[-1]
        found.append(Public("OLMo ladder, cosine", size, file.stem, step, loss, rate, n, batch))
    for file in sorted((shared / "data/curves/multipowerlaw").glob("*.csv")):
        size, name = file.stem.removeprefix("csv_").split("__")
        step, loss, rate = _columns(file, ("step", "loss", "lr"))
        family = f"multi-power-law, {name.split('_')[0]}"
        found.append(Public(family, f"{size}M", name, step, loss, rate, float(size) * 1e6, 5e5))
    return found


def _columns(file: Path, names: Iterable[str]) -> tuple[Array, ...]:
    with file.open() as opened:
        rows = [row for row in csv.DictReader(opened) if all(row[name] for name in names)]
    return tuple(np.array([float(row[name]) for row in rows]) for name in names)


# ---------------------------------------------------------------- the prior, fitted


@dataclass(frozen=True)
class Prior:
    """log g = log G + p log(nu / 1e-9) + q log(N / 2e8), and the median of alpha."""

    coefficients: tuple[float, float, float]
    alpha: float
    scatter: float

    def of(self, run: Public) -> tuple[float, float]:
        return float(np.exp(np.array(self.coefficients) @ features(run))), gain.SD


def features(run: Public) -> Array:
    nu = float(run.rate.max()) / run.tokens_per_step
    return np.array([1.0, np.log(nu / gain.NU), np.log(run.parameters / gain.SIZE)])


def fitted_prior(whole: list[tuple[Public, float, float]]) -> Prior:
    """From (run, log g, log alpha) of runs that have a decay."""
    design = np.array([features(run) for run, _, _ in whole])
    logs = np.array([log for _, log, _ in whole])
    coefficients, *_ = np.linalg.lstsq(design, logs, rcond=None)
    alpha = float(np.exp(np.median([alpha for _, _, alpha in whole])))
    first, second, third = (float(x) for x in coefficients)
    return Prior((first, second, third), alpha, float((logs - design @ coefficients).std()))


def whole_fits(members: list[Public]) -> list[tuple[Public, float, float]]:
    """g and alpha of each whole run, under priors wide enough to say nothing."""
    found = []
    for run in members:
        path = run.path
        if path.decayed[-1] == 0:
            continue
        fit = forecast.fit(
            run.step, run.loss, path, noise_sd=0.001, alpha_prior=(0.5, 0.25), gain_prior=(0.17, 0.6)
        )  # fmt: skip
        assert fit is not None
        found.append((run, float(np.log(fit.gain_moments[0])), float(np.log(fit.alpha_mean))))
    return found


# ---------------------------------------------------------------- the tables


def rest(run: Public, prior: Prior, share: float) -> dict[str, float]:
    seen = run.step <= share * run.step[-1]
    path = run.path
    fit = forecast.fit(
        run.step[seen],
        run.loss[seen],
        path,
        noise_sd=NOISE_SD,
        alpha_prior=(prior.alpha, forecast.ALPHA_PRIOR[1]),
        gain_prior=prior.of(run),
    )
    assert fit is not None
    ahead, truth = run.step[~seen], run.loss[~seen]
    mean, sd = fit.on(path, ahead)
    z = np.abs(mean - truth) / np.sqrt(sd**2 + NOISE_SD**2 + forecast.LAW_SD**2)
    blocks = [block for block in np.array_split(z, 10) if block.size]
    scores = {
        "rmse": rms(mean - truth),
        "end": abs(float(mean[-1] - truth[-1])),
        "last": rms(run.loss[seen][-1] - truth),
        "power": rms(power_law(run.step[seen], run.loss[seen], ahead) - truth),
    }
    for level, sigmas in SIGMAS.items():
        scores[f"end {level}"] = float(z[-1] <= sigmas)
        scores[f"rest {level}"] = float(np.mean([np.mean(block <= sigmas) for block in blocks]))
    return scores


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


def held_out(members: dict[str, Public]) -> tuple[float, float]:
    """Mean absolute error over six schedules of a law fitted to three others of one size, and the seconds of the fit.

    L0, A, alpha and g are shared by the three; least absolute residuals, alpha on a grid. Every path has its own T.
    """
    start = time.perf_counter()
    paths = {name: members[name].path for name in FITTED}
    best = (np.inf, 0.0, np.zeros(3))
    at = [paths[name].at(members[name].step) for name in FITTED]
    area, decayed = (np.concatenate(parts) for parts in zip(*at, strict=True))
    loss = np.concatenate([members[name].loss for name in FITTED])
    for alpha in np.linspace(0.3, 0.8, 101):
        design = np.stack([np.ones_like(area), (area / 1e4) ** -alpha, -decayed], axis=1)
        solution, *_ = np.linalg.lstsq(design, loss, rcond=None)
        for _ in range(8):  # towards least absolute residuals
            weight = 1 / np.sqrt(np.maximum(np.abs(loss - design @ solution), 1e-3))
            solution, *_ = np.linalg.lstsq(design * weight[:, None], loss * weight, rcond=None)
        misfit = float(np.abs(loss - design @ solution).sum())
        if misfit < best[0]:
            best = (misfit, alpha, solution)
    seconds = time.perf_counter() - start
    _, alpha, (floor, amplitude, g) = best
    errors = []
    for name in HELD_OUT:
        run = members[name]
        area, decayed = run.path.at(run.step)
        errors.append(float(np.abs(floor + amplitude * (area / 1e4) ** -alpha - g * decayed - run.loss).mean()))
    return float(np.mean(errors)), seconds


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(x**2)))


# ---------------------------------------------------------------- all figures


def figures(shared: Path) -> dict[str, Any]:
    """Every figure of the tables, rounded as they are shown; seconds are no part of it."""
    members = runs(shared)
    whole = whole_fits(members)
    keys = {group(run) for run in members}
    left_out = {key: [fit for fit in whole if group(fit[0]) != key] for key in keys}
    priors = {key: fitted_prior(rest_of) for key, rest_of in left_out.items()}
    scores = {
        (run.family, share, run.name, run.size): rest(run, priors[group(run)], share)
        for run in members
        for share in CUTS
    }
    return {
        "rest": [
            _rest(family, share, [score for key, score in scores.items() if key[:2] == (family, share)])
            for family in dict.fromkeys(run.family for run in members)
            for share in CUTS
        ],
        "within": [
            _within(share, [score for key, score in scores.items() if share is None or key[1] == share])
            for share in (*CUTS, None)
        ],
        "held_out": [
            {"size": size, "error": round(held_out(of_size(members, size))[0], 5)} for size in ("25M", "100M", "400M")
        ],
        "prior": _prior(whole, priors),
    }


def group(run: Public) -> tuple[str, str]:
    """What is left out at once: one size of one collection."""
    return run.family.split(",")[0], run.size


def of_size(members: list[Public], size: str) -> dict[str, Public]:
    return {run.name: run for run in members if run.size == size and run.family.startswith("multi")}


def _rest(family: str, share: float, rows: list[dict[str, float]]) -> dict[str, Any]:
    means = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in ("rmse", "end", "last", "power")}
    return {"family": family, "seen": share, "runs": len(rows), **means}


def _within(share: float | None, rows: list[dict[str, float]]) -> dict[str, Any]:
    names = [f"{what} {level}" for level in SIGMAS for what in ("end", "rest")]
    return {"seen": share, **{name: round(float(np.mean([row[name] for row in rows])), 3) for name in names}}


def _prior(whole: list[tuple[Public, float, float]], priors: dict[tuple[str, str], Prior]) -> dict[str, float]:
    """The prior fitted to all runs; scatter of log g about it, about the law as stated, about that without the size
    at hand, and about one g for all."""
    prior = fitted_prior(whole)
    stated = [
        log - np.log(gain.prior(run.parameters, float(run.rate.max()), run.tokens_per_step)[0]) for run, log, _ in whole
    ]
    unseen = [log - np.array(priors[group(run)].coefficients) @ features(run) for run, log, _ in whole]
    found = {
        "runs": len(whole),
        "g": float(np.exp(prior.coefficients[0])),
        "nu_power": prior.coefficients[1],
        "size_power": prior.coefficients[2],
        "alpha": prior.alpha,
        "scatter": prior.scatter,
        "scatter_as_stated": rms(np.array(stated)),
        "scatter_size_left_out": rms(np.array(unseen)),
        "scatter_of_one_g": float(np.std([log for _, log, _ in whole])),
    }
    return {name: round(value, 3) for name, value in found.items()}


def _from(share: float | None) -> str:
    return "all" if share is None else f"from {share:.0%}"


def main() -> None:
    given = [word for word in sys.argv[1:] if word != "--write"]
    shared = Path(given[0] if given else Path(__file__).parents[2] / "shared")
    found = figures(shared)
    if "--write" in sys.argv:
        file = Path(__file__).parents[1] / "docs" / "accuracy.json"
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(file)
    print("the rest of the same run")
    print(f"{'family':27s} seen  runs   rmse    |end|     last value  power law")
    for row in found["rest"]:
        print(
            f"{row['family']:27s} {row['seen']:4.2f}  {row['runs']:4d}  {row['rmse']:.4f}  {row['end']:.4f}      ",
            end="",
        )
        print(f"{row['last']:.4f}      {row['power']:.4f}")
    print("\nshare within the interval      50 %: end  rest     80 %: end  rest     95 %: end  rest")
    for row in found["within"]:
        shares = [row[f"{what} {level}"] for level in SIGMAS for what in ("end", "rest")]
        told = "        ".join(f"   {value:5.0%}" for value in shares)
        print(f"{_from(row['seen']):22s}{told}")
    print("\nheld-out schedules              mean absolute error      seconds to fit")
    members = runs(shared)
    for row in found["held_out"]:
        print(f"{row['size']:32s}{row['error']:.5f}                  {held_out(of_size(members, row['size']))[1]:.2f}")
    prior = found["prior"]
    print(f"\ng = {prior['g']} (nu / 1e-9)^{prior['nu_power']} (N / 2e8)^{prior['size_power']}")
    print(", ".join(f"{name} {value}" for name, value in prior.items() if name.startswith(("alpha", "scatter"))))


if __name__ == "__main__":
    main()
