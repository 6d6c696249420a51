"""Delete sources from a checkpoint, offline, and say what that cost."""
