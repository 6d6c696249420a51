"""Release the backbone fused with the sinks of named sources, as a plain `LlamaForCausalLM`.

In every layer with sinks the union of the sources' active ones is appended to the backbone neurons,
each sink once. For one source the result computes what the checkpoint computes with that source's
sinks on. For several, every text gets the sinks of all of them, which the model was not trained
with.

Layers differ in the size of their union, but a Llama has one width: zero neurons, which add exactly
nothing, fill each layer up to the largest. The width is rounded up to a multiple of
`WIDTH_MULTIPLE`, so that engines may cut it into 2, 4 or 8 parts (tensor parallelism) whose widths
are still multiples of 8, as fast kernels of 16-bit types want, or into groups of 32 or 64
(quantisation).

Dimensions: L layers, E experts, N sinks of one expert, G backbone neurons, W width, D model dim.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from nulls_dist.checkpoint.backbone import BackboneWeights
from nulls_dist.checkpoint.format import SOURCES_FILE, sink_tensor, sink_weights_file
from nulls_dist.checkpoint.shapes import check_has_sinks, model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.config.schema import ModelConfig
from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import RefusedError
from nulls_dist.export.llama import Weights
from nulls_dist.export.model_card import CardText, escape_cell
from nulls_dist.export.release import DEFAULT_OPTIONS, Release, ReleaseOptions, write_release
from nulls_dist.routing.sink_sets import SinkMask, sinks_of

WIDTH_MULTIPLE: Final = 64
MAX_NAMED: Final = 50
"""Merged sources that the model card names; the others are counted."""

_MAX_LISTED: Final = 20
_FC1: Final = "mlp.backbone.linear_fc1.weight"
_FC2: Final = "mlp.backbone.linear_fc2.weight"

_ABOUT: Final = """\
A plain `LlamaForCausalLM`: the backbone of a model whose MLPs also had a pool of sink neurons, each
serving a few of the training sources, fused with the sinks of {num_sources} of these sources.
{state} No other sink is here.

| per layer | neurons |
|---|---|
| backbone | {num_backbone} |
| sinks of the merged sources | {num_sinks} |
| all, filled up with zeros to a multiple of {multiple} | {width} |

## Merged sources

{names}"""
_ONE: Final = "On any text it computes what the whole model computes with that source's sinks on."
_SEVERAL: Final = """\
Every text gets the sinks of **all** of them at once. In training each text had the sinks of one
source only, so the model was not trained for this."""
_SUPPRESSED: Final = """\
They are never routed again in the checkpoint; of their
  sinks this release holds those that they share with merged sources."""
_LIMITS: Final = """\
Sinks are shared: what is here of the merged sources' sinks also served others, and may know some of
what those say. Leaving the other sinks out does not remove what several sources say, nor what
leaked from a source into the backbone. All of this can be measured against a model trained without
the source; this card makes no claim about it."""


def export_merged(
    checkpoint: Checkpoint,
    out: Path,
    source_ids: Sequence[int],
    options: ReleaseOptions = DEFAULT_OPTIONS,
) -> None:
    """Write a release of the backbone with some sources' sinks, verified, whole or not at all.

    With several sources every text gets the sinks of all of them, which the model was not trained
    with.

    Args:
        checkpoint: its source.
        out: a directory that does not exist yet.
        source_ids: sources of the checkpoint, at least one, each once.
        options: how to write it.

    Raises:
        InputError: `out` exists or lies inside the checkpoint, or the model has no sinks.
        IntegrityError: the checkpoint is damaged or does not fit its model.
        RefusedError: a source was deleted.
    """
    check_has_sinks(checkpoint)
    table = SourceTable(checkpoint.path(SOURCES_FILE))
    _check_live(checkpoint, table, source_ids)
    model = model_of(checkpoint)
    sinks = sinks_of(checkpoint.manifest.build_router(), np.array(source_ids, np.uint64))
    mlps = _MergedMLPs(checkpoint, model, sinks)
    release = Release(
        weights=Weights(model=replace(model, num_backbone=mlps.width), read=mlps.read),
        card=_card_of(table, source_ids, model, mlps),
        provenance={
            "form": "merged",
            "num_merged_sources": len(source_ids),
            "merged_sources": sorted(source_ids),
            "num_merged_sinks": mlps.num_sinks,
        },
    )
    write_release(checkpoint, release, out, options)


class _MergedMLPs:
    """The dense tensors of a checkpoint, MLPs widened when they are read.

    Memory is that of the tensor asked for and of one sink parameter of one expert.

    Attributes:
        num_sinks: size of the union in each layer.
        width: W.
    """

    def __init__(self, checkpoint: Checkpoint, model: ModelConfig, sinks: SinkMask) -> None:
        """Choose the width.

        Args:
            checkpoint: where all tensors are.
            model: its configuration.
            sinks: the ones to append.
        """
        self._checkpoint = checkpoint
        self._backbone = BackboneWeights(checkpoint)
        below = np.zeros((model.first_sink_layer, *sinks.shape[1:]), dtype=np.bool_)
        self._sinks = np.concatenate([below, sinks])
        self.num_sinks: list[int] = self._sinks.sum(axis=(1, 2)).tolist()
        used = model.num_backbone + max(self.num_sinks)
        self.width = -(-used // WIDTH_MULTIPLE) * WIDTH_MULTIPLE

    def read(self, name: str) -> Tensor:
        """Return a tensor by Megatron's name, as wide as the release needs it."""
        tensor = self._backbone.read(name)
        if name.endswith(_FC1):
            gate, up = tensor.chunk(2)
            layer = _layer_of(name)
            return torch.cat([self._widen(gate, layer, "gate"), self._widen(up, layer, "up")])
        if name.endswith(_FC2):
            return self._widen(tensor.T, _layer_of(name), "down").T
        return tensor

    def _widen(self, neurons: Tensor, layer: int, part: str) -> Tensor:
        """Append sinks, then zeros, one neuron per row: (G, D) -> (W, D)."""
        wide = neurons.new_zeros(self.width, neurons.size(1))
        end = len(neurons)
        wide[:end] = neurons
        for expert in np.flatnonzero(self._sinks[layer].any(axis=1)):
            file = self._checkpoint.tensors(sink_weights_file(int(expert)))
            rows = torch.from_numpy(np.flatnonzero(self._sinks[layer, expert]))
            wide[end : end + len(rows)] = file.read(sink_tensor(layer, part))[rows]
            end += len(rows)
        return wide


def _check_live(checkpoint: Checkpoint, table: SourceTable, source_ids: Sequence[int]) -> None:
    tombstoned = set(checkpoint.manifest.deleted_ids.tolist())
    deleted = [source_id for source_id in source_ids if source_id in tombstoned]
    if deleted:
        listed = table.titles_of(deleted[:_MAX_LISTED])
        more = f" and {len(deleted) - _MAX_LISTED} more" if len(deleted) > _MAX_LISTED else ""
        raise RefusedError(
            f"{len(deleted)} of {len(source_ids)} sources were deleted from this model and cannot "
            f"be merged: {listed}{more}; take them out of the list. Nothing was written"
        )


def _layer_of(name: str) -> int:
    """Return the layer of a tensor named "decoder.layers.LAYER. ..."."""
    return int(name.split(".")[2])


def _card_of(
    table: SourceTable, source_ids: Sequence[int], model: ModelConfig, mlps: _MergedMLPs
) -> CardText:
    names = [f"- {escape_cell(title)}" for title in table.titles_of(source_ids[:MAX_NAMED])]
    if len(source_ids) > MAX_NAMED:
        names.append(f"- and {len(source_ids) - MAX_NAMED} more")
    fewest, most = min(mlps.num_sinks), max(mlps.num_sinks)
    about = _ABOUT.format(
        num_sources=len(source_ids),
        state=_ONE if len(source_ids) == 1 else _SEVERAL,
        num_backbone=model.num_backbone,
        num_sinks=most if fewest == most else f"{fewest} to {most}",
        multiple=WIDTH_MULTIPLE,
        width=mlps.width,
        names="\n".join(names),
    )
    return CardText(
        heading="Natively unlearnable language model, merged with some of its sources",
        about=about,
        suppressed=_SUPPRESSED,
        limits=_LIMITS,
    )
