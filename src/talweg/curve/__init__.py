"""Statistics of a noisy, autocorrelated curve: level, trend, noise, minimum, events. Arrays in, numbers out."""
