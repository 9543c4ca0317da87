"""Seconds that each statistic of a curve takes on a long one, and how many points a plot needs of it.

.venv/bin/python bench/curve.py [POINTS]      default 1,000,000
"""

import sys
import time

import numpy as np

from talweg.curve.decimate import decimate
from talweg.curve.events import events
from talweg.curve.level import level
from talweg.curve.minimum import minimum
from talweg.curve.noise import noise
from talweg.curve.smooth import smooth
from talweg.curve.trend import at_end, trend

TOGETHER = 2.0  # seconds that events, level, trend and noise may take on a million points


def main(points: int) -> None:
    rng = np.random.default_rng(0)
    step = np.arange(float(points))
    value = 3 + 8 * (step + 50) ** -0.3 + 0.05 * rng.standard_t(5, points)
    value[rng.integers(0, points, 20)] += 1.0
    calls = {
        "events": lambda: events(step, value),
        "level": lambda: level(step, value),
        "trend": lambda: trend(step, value),
        "noise": lambda: noise(step, value),
        "trend at the end": lambda: at_end(step, value),
        "minimum": lambda: minimum(step, value, 0.05),
        "smooth": lambda: smooth(step, value),
        "decimate": lambda: decimate(step, value, 2000),
    }
    seconds = {}
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        seconds[name] = time.perf_counter() - start
        print(f"{name:18}{seconds[name]:8.3f} s")
    together = sum(seconds[name] for name in ("events", "level", "trend", "noise"))
    print(f"events, level, trend and noise together, {points:,} points: {together:.2f} s (aim: {TOGETHER:.1f} s)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
