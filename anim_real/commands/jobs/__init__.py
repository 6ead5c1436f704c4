"""The work behind the larger commands: pure functions of a task, run here or in worker processes."""
