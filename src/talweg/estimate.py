"""A number with its interval: the only form in which Talweg states a quantity that it did not read off directly."""

import math
from dataclasses import dataclass

SD_80 = 1.2815515655446004  # a normal variable lies within +-1.2816 sd of its mean with probability 0.8


@dataclass(frozen=True)
class Estimate:
    """`value` with an 80 % interval from `low` to `high`, all in one unit."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        assert self.low <= self.value <= self.high, f"{self.value} is outside {self.low} to {self.high}"

    @classmethod
    def normal(cls, value: float, sd: float) -> "Estimate":
        """The 80 % interval of a normal distribution with this mean and standard deviation."""
        return cls(value, value - SD_80 * abs(sd), value + SD_80 * abs(sd))

    @property
    def sd(self) -> float:
        """The standard deviation of the normal distribution whose 80 % interval is as wide as this one."""
        return (self.high - self.low) / (2 * SD_80)

    @property
    def finite(self) -> bool:
        return all(math.isfinite(x) for x in (self.value, self.low, self.high))

    def __neg__(self) -> "Estimate":
        return Estimate(-self.value, -self.high, -self.low)

    def shifted(self, by: float) -> "Estimate":
        return Estimate(self.value + by, self.low + by, self.high + by)

    def at_least(self, floor: float) -> "Estimate":
        """The same estimate with everything below `floor` moved up to it (a cost is never negative)."""
        return Estimate(max(self.value, floor), max(self.low, floor), max(self.high, floor))
