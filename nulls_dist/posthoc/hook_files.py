"""What answers in a model's stead, as files: for methods that leave the weights as they are.

    hook.json            which kind, its settings, and the digest of the weights it belongs to
    hook.safetensors     the classifier of ECO prompts, or the reinforced model of logit difference

The model itself is not in it. `load_hook` puts both together again.
"""

from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nulls_dist.durable import read_versioned_json, write_json
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.posthoc.causal_model import Snapshot, weights_sha256
from nulls_dist.posthoc.corrupted_prompts import CorruptedPrompts
from nulls_dist.posthoc.corruptions import CORRUPTIONS, Dims
from nulls_dist.posthoc.prompt_classifier import HashedNgrams
from nulls_dist.posthoc.reinforced import AgainstReinforced

FORMAT_VERSION: Final = 1
HOOK_FILE: Final = "hook.json"

_TENSORS_FILE: Final = "hook.safetensors"
_CORRUPTED: Final = "corrupted prompts"
_AGAINST: Final = "against reinforced"


def write_hook(folder: Path, unlearned: nn.Module) -> None:
    """Write what was made around a model into an existing folder.

    Raises:
        ConfigError: it has a classifier or a selector of the caller's own, which no file holds.
    """
    assert isinstance(unlearned, CorruptedPrompts | AgainstReinforced), "a module around a model"
    tensors: dict[str, Tensor]
    if isinstance(unlearned, CorruptedPrompts):
        content = {"kind": _CORRUPTED, "settings": unlearned.describe()}
        tensors = {**dict(unlearned.classifier.named_parameters())}
    else:
        content = {"kind": _AGAINST, "settings": {"strength": unlearned.strength}}
        tensors = unlearned.reinforced_weights()
    save_file(
        {name: each.detach().cpu().clone() for name, each in tensors.items()},
        folder / _TENSORS_FILE,
    )
    weights = weights_sha256(dict(unlearned.model.named_parameters()))
    write_json(
        folder / HOOK_FILE,
        {"format_version": FORMAT_VERSION, "weights_sha256": weights, **content},
    )


def load_hook(folder: Path, model: nn.Module) -> nn.Module:
    """Put what was written around the model that it belongs to.

    Args:
        folder: where `write_hook` wrote.
        model: as it was then: `AutoModelForCausalLM`, in the same type.

    Returns:
        A module that answers in its stead.

    Raises:
        InputError: the model has other weights.
        IntegrityError: a file is damaged.
    """
    names = ("format_version", "weights_sha256", "kind", "settings")
    content = read_versioned_json(folder / HOOK_FILE, version=FORMAT_VERSION, names=names)
    if content["weights_sha256"] != weights_sha256(dict(model.named_parameters())):
        raise InputError(
            f"{folder} belongs to a model with other weights; load the one that unlearning.json "
            "there names, in the same type"
        )
    try:
        tensors = load_file(folder / _TENSORS_FILE)
        settings = content["settings"]
        if content["kind"] == _CORRUPTED:
            return _corrupted_prompts(model, settings, tensors)
        reinforced = Snapshot(model)
        for name, was in reinforced.weights.items():
            reinforced.weights[name] = tensors[name].to(was)
        return AgainstReinforced(model, reinforced, settings["strength"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{folder}: not a whole hook: {error}; unlearn again") from error


def _corrupted_prompts(
    model: nn.Module, settings: dict[str, Any], tensors: dict[str, Any]
) -> CorruptedPrompts:
    recipe = {name: value for name, value in settings["classifier"].items() if name != "name"}
    corruption = dict(settings["corruption"])
    kind = CORRUPTIONS[corruption.pop("name")]
    return CorruptedPrompts(
        model,
        HashedNgrams(**recipe).restore(tensors["weight"], tensors["bias"]),
        kind(**corruption | {"dims": Dims(corruption["dims"])}),
        strength=settings["strength"],
        threshold=settings["threshold"],
        scope=settings["scope"],
        embedding=settings["embedding"],
        seed=settings["seed"],
    )
