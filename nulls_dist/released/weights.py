"""lit_model.pth of a released model: litgpt's tensors, and where they go.

The file is a pickle, read with torch's `weights_only` loader alone, which builds tensors and plain
containers and refuses everything else, and mapped into memory: only what is asked for is read. It
holds either the tensors, or what litgpt saves in training (model, optimizer, ...), of which only
the model is read. Names may begin with "_orig_mod.", which torch.compile puts there.

Of an MLP of I neurons the first G are backbone, the others sinks, one neuron per row of fc_1 (gate)
and fc_2 (up) and per column of proj (down). Attention's rows are all queries, all keys, all values;
Megatron keeps the queries, key and value of each key-value group together. Every tensor has its
place; unknown, missing and misshapen ones are refused by name.

Source of names and layout: the copy of the authors' code in HALO, a public audit of the weights
that checks them. Whether the release has the prefix, or litgpt's training state around the tensors,
is not known, so both are read.

Dimensions: G backbone neurons, P sinks, D model dim, H query heads, K key heads, h head dim.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from nulls_dist.checkpoint.format import sink_tensor
from nulls_dist.errors import InputError
from nulls_dist.released.model_config import ReleasedConfig

WEIGHTS_FILE: Final = "lit_model.pth"

_COMPILED: Final = "_orig_mod."
_TRAINING_STATE: Final = frozenset(
    {"model", "optimizer", "train_dataloader", "iter_num", "step_count"}
)
_DTYPES: Final = (torch.float32, torch.bfloat16, torch.float16)


class ReleasedWeights:
    """The tensors of a released model under the names and in the layout of this project.

    Attributes:
        dtype: of all of them.
    """

    def __init__(self, root: Path, config: ReleasedConfig) -> None:
        """Open the file and compare its tensors with the model, without reading their values.

        Raises:
            InputError: it is missing, holds anything but tensors and containers, or does not fit.
        """
        self._config = config
        self._path = root / WEIGHTS_FILE
        self._tensors = _load(self._path)
        shapes = tensor_shapes(config)
        missing, unknown = (
            sorted(set(shapes) - set(self._tensors)),
            sorted(map(str, set(self._tensors) - set(shapes))),
        )
        if missing or unknown:
            raise InputError(
                f"{self._path}: tensors differ from those of the model (missing {missing[:9]}, "
                f"unknown {unknown[:9]})"
            )
        self.dtype = self._check(shapes)

    def _check(self, shapes: dict[str, tuple[int, ...]]) -> torch.dtype:
        dtypes = set()
        for name, shape in shapes.items():
            tensor = self._tensors[name]
            if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
                raise InputError(f"{self._path}: {name} is no dense tensor")
            if tuple(tensor.shape) != shape:
                raise InputError(
                    f"{self._path}: {name} has shape {tuple(tensor.shape)}, the model needs {shape}"
                )
            self._tensors[name] = tensor.detach()
            dtypes.add(tensor.dtype)
        (dtype, *others) = sorted(dtypes, key=str)
        if others or dtype not in _DTYPES:
            raise InputError(
                f"{self._path}: tensors must all be of one type of float32, bfloat16 and float16, "
                f"not {sorted(map(str, dtypes))}"
            )
        return dtype

    def backbone(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the dense parameters."""
        num = self._config.num_backbone
        yield "embedding.word_embeddings.weight", self._tensors["transformer.wte.weight"]
        for layer in range(self._config.n_layer):
            theirs, ours = f"transformer.h.{layer}.", f"decoder.layers.{layer}."
            gate, up = (self._tensors[f"{theirs}mlp.fc_{part}.weight"][:num] for part in (1, 2))
            for name, tensor in (
                ("input_layernorm", self._tensors[theirs + "norm_1.weight"]),
                ("self_attention.linear_qkv", self._qkv(theirs)),
                ("self_attention.linear_proj", self._tensors[theirs + "attn.proj.weight"]),
                ("pre_mlp_layernorm", self._tensors[theirs + "norm_2.weight"]),
                ("mlp.backbone.linear_fc1", torch.cat([gate, up])),
                ("mlp.backbone.linear_fc2", self._tensors[theirs + "mlp.proj.weight"][:, :num]),
            ):
                yield f"{ours}{name}.weight", tensor
        yield "decoder.final_layernorm.weight", self._tensors["transformer.ln_f.weight"]
        yield "output_layer.weight", self._tensors["lm_head.weight"]

    def sinks(self, layer: int) -> dict[str, Tensor]:
        """Return the sinks of a layer, one neuron per row: (P, D) each."""
        num, mlp = self._config.num_backbone, f"transformer.h.{layer}.mlp."
        return {
            sink_tensor(layer, "gate"): self._tensors[mlp + "fc_1.weight"][num:],
            sink_tensor(layer, "up"): self._tensors[mlp + "fc_2.weight"][num:],
            sink_tensor(layer, "down"): self._tensors[mlp + "proj.weight"][:, num:].T,
        }

    def _qkv(self, prefix: str) -> Tensor:
        """Return attention's rows by key-value group: ((H + 2 K) h, D)."""
        config = self._config
        rows = self._tensors[prefix + "attn.qkv.weight"]
        sizes = [
            heads * config.head_size for heads in (config.n_head, *2 * [config.n_query_groups])
        ]
        groups = [part.unflatten(0, (config.n_query_groups, -1)) for part in rows.split(sizes)]
        return torch.cat(groups, dim=1).flatten(0, 1)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path.parent} is not a released model: {path.name} is missing")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a crafted file can make the loader raise anything
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"{path}: refused; it is no zip archive of torch, is damaged, or holds more than "
            f"tensors and plain containers ({reason}). Where you trust it, load it elsewhere and "
            "save the model's tensors alone"
        ) from error
    if isinstance(content, dict) and "model" in content:
        if unknown := sorted(map(str, set(content) - _TRAINING_STATE)):
            raise InputError(f"{path}: unknown entries {unknown} beside the model")
        content = content["model"]
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {type(content).__name__}, not tensors by name")
    tensors = {str(name).removeprefix(_COMPILED): tensor for name, tensor in content.items()}
    if len(tensors) != len(content):
        raise InputError(f"{path}: tensors occur with and without the prefix {_COMPILED}")
    return tensors


def tensor_shapes(config: ReleasedConfig) -> dict[str, tuple[int, ...]]:
    """Return litgpt's names and shapes."""
    width, neurons = config.n_embd, config.intermediate_size
    queries = config.n_head * config.head_size
    rows = queries + 2 * config.n_query_groups * config.head_size
    shapes: dict[str, tuple[int, ...]] = {
        "lm_head.weight": (config.padded_vocab_size, width),
        "transformer.wte.weight": (config.padded_vocab_size, width),
        "transformer.ln_f.weight": (width,),
    }
    for layer in range(config.n_layer):
        shapes |= {
            f"transformer.h.{layer}.{name}.weight": shape
            for name, shape in (
                ("norm_1", (width,)),
                ("attn.qkv", (rows, width)),
                ("attn.proj", (width, queries)),
                ("norm_2", (width,)),
                ("mlp.fc_1", (neurons, width)),
                ("mlp.fc_2", (neurons, width)),
                ("mlp.proj", (width, neurons)),
            )
        }
    return shapes
