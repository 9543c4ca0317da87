"""Accuracy of the forecast on public runs, out of sample: the prior's constants are fitted without the size at hand.

    .venv/bin/python bench/forecast.py [SHARED]      SHARED holds data/curves (default ../shared)

Three tables. The rest of a run from its first part, by family: RMSE of the rest, mean absolute error of the end, and
the same of "the last value stays" and of a power law in steps. Calibration: the share of ends, and of points of the
rest (in ten blocks), within the 50, 80 and 95 % intervals. Held-out schedules: the law fitted to three runs of one
size, tried on six others. Then the prior of g as `laws/gain.py` states it, fitted anew to all runs.
"""

import csv
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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


def main() -> None:
    shared = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2] / "shared")
    members = runs(shared)
    whole = whole_fits(members)
    keys = {(run.family.split(",")[0], run.size) for run in members}
    priors = {
        key: fitted_prior([fit for fit in whole if (fit[0].family.split(",")[0], fit[0].size) != key]) for key in keys
    }
    scores = {
        (run.family, share, run.name, run.size): rest(run, priors[run.family.split(",")[0], run.size], share)
        for run in members
        for share in CUTS
    }
    print("the rest of the same run")
    print(f"{'family':27s} seen  runs   rmse    |end|     last value  power law")
    for family in dict.fromkeys(run.family for run in members):
        for share in CUTS:
            rows = [score for key, score in scores.items() if key[:2] == (family, share)]
            rmse, end, last, power = (np.mean([row[name] for row in rows]) for name in ("rmse", "end", "last", "power"))
            print(f"{family:27s} {share:4.2f}  {len(rows):4d}  {rmse:.4f}  {end:.4f}      {last:.4f}      {power:.4f}")
    print("\nshare within the interval      50 %: end  rest     80 %: end  rest     95 %: end  rest")
    for share in (*CUTS, None):
        rows = [score for key, score in scores.items() if share is None or key[1] == share]
        shares = [np.mean([row[f"{what} {level}"] for row in rows]) for level in SIGMAS for what in ("end", "rest")]
        told = "        ".join(f"   {value:5.0%}" for value in shares)
        print(f"{'all' if share is None else f'from {share:.0%}':22s}{told}")
    print("\nheld-out schedules              mean absolute error      seconds to fit")
    for size in ("25M", "100M", "400M"):
        error, seconds = held_out({run.name: run for run in members if run.size == size and run.family[0] == "m"})
        print(f"{size:32s}{error:.5f}                  {seconds:.2f}")
    prior = fitted_prior(whole)
    g, nu, power = np.exp(prior.coefficients[0]), *prior.coefficients[1:]
    print(f"\ng = {g:.3f} (nu / 1e-9)^{nu:.3f} (N / 2e8)^{power:.3f}, scatter {prior.scatter:.3f}")
    print(f"alpha {prior.alpha:.3f}")


if __name__ == "__main__":
    main()
