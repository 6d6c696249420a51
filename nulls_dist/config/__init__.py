"""Configuration: frozen dataclasses, presets, overrides, DeepSpeed files, the environment."""
