"""Low-rank adapters of peft around a model: methods then train them alone.

Source: LoRA (arXiv 2106.09685); the calls follow peft's documentation.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nulls_dist.errors import ConfigError, InputError
from nulls_dist.posthoc.causal_model import device_of, own_random_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class LoRA:
    """Adapters B A alpha / rank beside linear layers, B being 0 at first. The defaults are peft's.

    Dropout is off: the adapted model must be the model until the first step.
    """

    rank: int = 8
    alpha: int = 8
    targets: str | tuple[str, ...] = "all-linear"
    """Ends of the names of layers to adapt; "all-linear" takes every linear one but the last."""
    seed: int = 0
    """Of the initial values of A."""

    def __post_init__(self) -> None:
        for name in ("rank", "alpha"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} ({getattr(self, name)}) must be at least 1")


def with_adapters(model: nn.Module, lora: LoRA) -> nn.Module:
    """Freeze a model of transformers and put adapters into it.

    Layers are then called "base_model.model." and what they were called before.

    Args:
        model: changed in place; `merged` gives it back.
        lora: the adapters.

    Returns:
        The model with its adapters, which alone require gradients; float32 where the model is
        bfloat16.

    Raises:
        ConfigError: peft is not installed.
    """
    peft = _import_peft()
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules=targets,
        bias="none",
        task_type="CAUSAL_LM",
    )
    with own_random_numbers(device_of(model)):
        torch.manual_seed(lora.seed)
        adapted: nn.Module = peft.get_peft_model(model, config)
    return adapted


def merged(model: nn.Module) -> nn.Module:
    """Add the adapters to the weights and take them out; the result is saved as any other model.

    Args:
        model: what `with_adapters` gave, after a run; changed in place.

    Raises:
        ConfigError: peft is not installed.
        InputError: the model has no adapters.
    """
    peft = _import_peft()
    if not isinstance(model, peft.PeftModel):
        raise InputError(
            f"a {type(model).__name__} has no adapters to merge; give what with_adapters returned: "
            "what a method made around it, such as of logit difference, is not a model of weights"
        )
    plain: nn.Module = model.merge_and_unload()
    return plain


def _import_peft() -> Any:
    try:
        import peft  # of an extra
    except ImportError as error:
        raise ConfigError("LoRA needs peft: pip install 'nulls-dist[lora]'") from error
    return peft
