"""Training: engine, step, loop, checkpoints of a running job."""
