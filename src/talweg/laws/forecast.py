"""The annealing law fitted to the curve of one run, and carried on to the end of its plan.

Bayesian on a grid: two of the four parameters enter linearly (L0, A) and are solved exactly for every pair of the
other two; alpha and g carry log-normal priors. The posterior is a weight on each pair, so every prediction comes with
its spread.

    weight(alpha, g) ~ exp(-chi2 / 2 - (ln alpha / alpha0)^2 / (2 s_alpha^2) - (ln g / g0)^2 / (2 s_g^2))
    chi2 = min over L0, A of  sum over bins (y_b - L(s_b))^2 / (sd^2 / n_b + 0.004^2)

y_b: mean of the n_b logged losses in one of 48 stretches of equal length, nats; sd: scatter of one logged loss, as
measured on the curve; 0.004: how far the law itself is off in a stretch; g0, s_g from `gain`. The first 8 % of the
steps that learn, and one and a half times the warm-up, are left out. What one evaluation will show scatters by sd more
than the level.

Known limits: below six points there is no fit. The memory's form and T are held fixed, so the interval right after a
sudden drop of the rate may hold less than it says (notes/forecast.md).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talweg.laws.annealing import Array, Path
from talweg.laws.gain import UNSTATED

# Priors (median, sd of the logarithm) of the two parameters that a curve shows late. alpha over 36 public runs of 25 M
# to 3 B parameters; g where nothing is known of the run (`gain.prior` knows more).
ALPHA_PRIOR = (0.506, 0.20)
GAIN_PRIOR = UNSTATED
FIRST_SHARE = 0.08  # of the steps that learn: what lies before is not of this form. Chosen by error on held-out halves
LEARNT = 0.98  # share of the whole area S1 at which a run has learnt nearly all it will
NUM_BINS = 48  # the curve enters as this many means, so that density of logging does not pass for evidence
LAW_SD = (
    0.002  # nats. How far a level ahead is off beside what the fit knows; chosen with MODEL_SD, by the same intervals
)
FEWEST = 6  # values that are fitted
ROUNDS = 3  # of fitting, and of leaving out what lies far from the fit
SPIKE_SD = 6.0  # robust standard deviations from which a value is a spike. Our choice: of normal noise none is
MOST_SPIKES = 0.2  # of the values: with more of them it is no spike
LASTING = 3  # last values far from the fit are a change that stays, and count
KNOTS = 256  # at which the fit is evaluated for that
REFINED = 4  # times that the grid is laid anew, at most
MODEL_SD = 0.004  # nats. How far the law itself is off in one bin: the value at which 80 % intervals hold about 80 %


@dataclass(frozen=True, eq=False)
class Fit:
    """The fitted law: a grid of (alpha, g) with weights."""

    path: Path
    alpha: Array  # (I,)
    gain: Array  # (J,) g in nats
    weight: Array  # (I, J), sums to 1
    asymptote: Array  # (I, J) L0
    amplitude: Array  # (I, J) A at `area_now`
    area_now: float  # S1 at the last point fitted
    noise_sd: float  # nats, of one logged value about the law
    last_step: float

    def on(self, path: Path, step: ArrayLike) -> tuple[Array, Array]:
        """Mean and standard deviation of the loss level at these steps of a path. (T,), (T,)"""
        area, decayed = path.at(np.atleast_1d(np.asarray(step, dtype=np.float64)))
        return self._moments(area, decayed)

    def difference(self, path: Path, step: float, other: Path, other_step: float) -> tuple[float, float]:
        """Mean and sd of L(path, step) - L(other, other_step): what the two share cancels."""
        curves = self._curves(*(np.array(x) for x in zip(path.at(step), other.at(other_step), strict=True)))
        change = curves[:, :, 0] - curves[:, :, 1]
        mean = float((self.weight * change).sum())
        return mean, float(np.sqrt((self.weight * (change - mean) ** 2).sum()))

    @property
    def gain_moments(self) -> tuple[float, float]:
        """Mean and sd of g, the nats that a whole decay gives."""
        by_gain = self.weight.sum(axis=0)
        mean = float((by_gain * self.gain).sum())
        return mean, float(np.sqrt((by_gain * (self.gain - mean) ** 2).sum()))

    @property
    def alpha_mean(self) -> float:
        return float((self.weight.sum(axis=1) * self.alpha).sum())

    def _curves(self, area: Array, decayed: Array) -> Array:
        fall = (np.maximum(area, 1e-9)[None] / self.area_now) ** -self.alpha[:, None]  # (I, T)
        return (
            self.asymptote[:, :, None]
            + self.amplitude[:, :, None] * fall[:, None, :]
            - self.gain[None, :, None] * decayed[None, None, :]
        )

    def _moments(self, area: Array, decayed: Array) -> tuple[Array, Array]:
        curves = self._curves(area, decayed)
        mean = (self.weight[:, :, None] * curves).sum(axis=(0, 1))
        variance = (self.weight[:, :, None] * (curves - mean) ** 2).sum(axis=(0, 1))
        return mean, np.sqrt(variance)


def fit(
    step: Array,
    loss: Array,
    path: Path,
    *,
    noise_sd: float,
    alpha_prior: tuple[float, float] = ALPHA_PRIOR,
    gain_prior: tuple[float, float] = GAIN_PRIOR,
) -> Fit | None:
    """Fit the law to (step, loss), all finite. None below six usable points.

    step, loss: (T,) steps ascending, nats per token
    path:       of the learning rate, to the end of the plan
    noise_sd:   nats, scatter of one logged value
    """
    first = first_step(path, float(step[-1]) if step.size else 0.0)
    use = step >= first
    if int(use.sum()) < FEWEST:
        return None
    s, y = step[use], loss[use]
    keep = np.ones(s.size, dtype=np.bool_)
    for _ in range(ROUNDS):
        found = _posterior(s[keep], y[keep], path, noise_sd, alpha_prior, gain_prior)
        sound = _sound(s, y, found)
        if np.array_equal(sound, keep):
            break
        keep = sound
    return replace(found, last_step=float(step[-1]))


def _posterior(
    step: Array,
    loss: Array,
    path: Path,
    noise_sd: float,
    alpha_prior: tuple[float, float],
    gain_prior: tuple[float, float],
) -> Fit:
    s, y, count = binned(step, loss)
    area, decayed = path.at(s)
    variance = noise_sd**2 / count + MODEL_SD**2
    alpha, gain = _log_grid(alpha_prior, 61), _log_grid(gain_prior, 41)
    for laid in range(REFINED):  # a wide prior has a coarse grid, on which a sharp posterior would be one cell
        misfit, asymptote, amplitude = _solve(y, area / area[-1], decayed, 1 / variance, alpha, gain)
        log_weight = -0.5 * misfit + _log_prior(alpha, alpha_prior)[:, None] + _log_prior(gain, gain_prior)[None, :]
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        finer = _finer(alpha, weight.sum(axis=1)), _finer(gain, weight.sum(axis=0))
        if (finer[0] is alpha and finer[1] is gain) or laid == REFINED - 1:
            break
        alpha, gain = finer
    return Fit(path, alpha, gain, weight, asymptote, amplitude, float(area[-1]), noise_sd, last_step=float(step[-1]))


def _sound(step: Array, loss: Array, found: Fit) -> NDArray[np.bool_]:
    """Which values are of this curve: a spike is not, a change that lasts to the end is. (T,)"""
    knots = np.linspace(step[0], step[-1], KNOTS)
    off = loss - np.interp(step, knots, found.on(found.path, knots)[0])
    off = np.abs(off - np.median(off))
    sound = off <= SPIKE_SD * max(1.4826 * float(np.median(off)), MODEL_SD)
    last = np.flatnonzero(sound)[-1]  # half of the values lie within their median
    if step.size - 1 - last >= LASTING:
        sound[last + 1 :] = True
    enough = sound.mean() >= 1 - MOST_SPIKES and sound.sum() >= FEWEST
    return sound if enough else np.ones(step.size, dtype=np.bool_)


def first_step(path: Path, last_step: float) -> float:
    """Where the fit begins: after FIRST_SHARE of the steps that learn, after the warm-up, within the first 40 %."""
    warm = float(path.step[int(np.argmax(np.gradient(path.area, path.step) > 0.999))]) if path.step.size > 2 else 0.0
    learnt = float(path.step[int(np.searchsorted(path.area, LEARNT * path.area[-1]))])
    return min(max(FIRST_SHARE * learnt, 1.5 * warm), 0.4 * min(last_step, learnt))


def binned(step: Array, loss: Array) -> tuple[Array, Array, Array]:
    """Mean step, mean loss and count of at most NUM_BINS stretches of equal length. (B,), (B,), (B,)"""
    edges = np.linspace(step[0], np.nextafter(step[-1], np.inf), NUM_BINS + 1)
    index = np.clip(np.searchsorted(edges, step, side="right") - 1, 0, NUM_BINS - 1)
    count = np.bincount(index, minlength=NUM_BINS).astype(np.float64)
    kept = count > 0
    total_step, total_loss = (np.bincount(index, weights=x, minlength=NUM_BINS) for x in (step, loss))
    return total_step[kept] / count[kept], total_loss[kept] / count[kept], count[kept]


def _solve(y: Array, area: Array, decayed: Array, w: Array, alpha: Array, gain: Array) -> tuple[Array, Array, Array]:
    """Weighted least squares of y + g D on [1, S1^-alpha] for every alpha and g. Each (I, J); misfit is chi squared."""
    fall = area[None] ** -alpha[:, None]  # (I, B)
    target = y[None] + gain[:, None] * decayed[None]  # (J, B)
    total = w.sum()
    mean_fall = (fall * w).sum(axis=1) / total  # (I,)
    mean_target = (target * w).sum(axis=1) / total  # (J,)
    centred_fall, centred_target = fall - mean_fall[:, None], target - mean_target[:, None]
    spread = np.maximum((w * centred_fall**2).sum(axis=1), 1e-300)  # (I,)
    amplitude = (centred_fall * w) @ centred_target.T / spread[:, None]  # (I, J)
    asymptote = mean_target[None] - amplitude * mean_fall[:, None]
    misfit = (w * centred_target**2).sum(axis=1)[None] - amplitude**2 * spread[:, None]
    return np.maximum(misfit, 0.0), asymptote, amplitude


def _log_grid(prior: tuple[float, float], num: int) -> Array:
    """From 3.5 sd below the median to 3.5 sd above, evenly spaced in the logarithm."""
    median, sd = prior
    return np.asarray(median * np.exp(sd * np.linspace(-3.5, 3.5, num)))


def _finer(grid: Array, weight: Array) -> Array:
    """The grid itself where the weight spreads over it; else as many values about where the weight is."""
    logs = np.log(grid)
    spacing = float(logs[1] - logs[0])
    mean = float((weight * logs).sum())
    sd = float(np.sqrt((weight * (logs - mean) ** 2).sum()))
    if sd > 2 * spacing:
        return grid
    reach = 4 * max(sd, spacing)
    return np.asarray(np.exp(np.linspace(mean - reach, mean + reach, grid.size)))


def _log_prior(value: Array, prior: tuple[float, float]) -> Array:
    median, sd = prior
    return np.asarray(-0.5 * (np.log(value / median) / sd) ** 2)
