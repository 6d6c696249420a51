"""Faults in training, put there on purpose, and what became of the run: one family per file."""
