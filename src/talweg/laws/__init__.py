"""What is known of how the loss depends on size, data, schedule and noise: formulas with constants and sources."""
