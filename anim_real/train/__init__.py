"""The training loop, losses, schedule, checkpoints and run records."""
