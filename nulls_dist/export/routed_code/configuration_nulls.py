"""Configuration of a natively unlearnable language model: a Llama's, and its router's."""

from typing import Any

from transformers import LlamaConfig


class NullsConfig(LlamaConfig):
    """A Llama whose MLPs also have a pool of sink neurons, routed by the source of a text."""

    model_type = "nulls"

    router: dict[str, Any] | None = None
    """Arguments of `router_nulls.HashRouter`."""
