"""Evaluate a checkpoint in one process: facts, states, losses."""
