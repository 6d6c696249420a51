"""Hostile files where this project's commands read them: one kind of file per module."""
