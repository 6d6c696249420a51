"""Processes, groups and the accelerator."""
