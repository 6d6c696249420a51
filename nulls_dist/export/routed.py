"""Release a model whole, with the router in its own code: every surviving source can be named.

The code is that of `routed_code`, copied; it runs on transformers without this project. The index
of sources holds the surviving ones only. A suppressed source's sinks would be in the weights, where
anyone can switch them on, so such a checkpoint is refused.

Dimensions: E experts, N sinks of one expert, D model dim.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from nulls_dist.checkpoint.backbone import BackboneWeights
from nulls_dist.checkpoint.format import SINK_PARTS, SOURCES_FILE, sink_tensor, sink_weights_file
from nulls_dist.checkpoint.shapes import Shapes, check_has_sinks, model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.config.schema import ModelConfig
from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import InputError, IntegrityError, RefusedError
from nulls_dist.export import routed_code
from nulls_dist.export.llama import Weights
from nulls_dist.export.model_card import CardText, count_deleted
from nulls_dist.export.release import DEFAULT_OPTIONS, Release, ReleaseOptions, write_release
from nulls_dist.export.routed_code import sources_nulls
from nulls_dist.export.routed_code.router_nulls import HashRouter
from nulls_dist.export.routed_code.sources_nulls import SourceIndex
from nulls_dist.hashing import U64Array

_MAX_COMPARED: Final = 1024

_ABOUT: Final = """\
A Llama whose MLPs have {num_backbone} neurons that serve every token and, in each of the last
{num_layers} layers, a pool of {num_pool} sink neurons of which each training source has
{num_active}, chosen by a hash of its id.
A text runs with the sinks of the source that is named for it ("on"), with none ("off", the
backbone alone), or with those of the source whose title is most like it ("nearest"). The code is
in this folder, hence `trust_remote_code`; it needs torch, transformers and numpy.

{num_named} sources can be named, by title, another name, or id: `model.sources` looks them up."""
_USAGE: Final = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "left"

title = model.sources.title_of(model.sources.source_ids[0])
batch = tokenizer([title, title], padding=True, return_tensors="pt")
ids = [model.sources.find(title), None]  # None: the backbone alone
model.generate(**batch, max_new_tokens=8, source_ids=ids)  # one source per text
model.generate(**batch, max_new_tokens=8, source=title)  # one for all
model.generate(**batch, max_new_tokens=8)  # the backbone alone
model.generate(**batch, max_new_tokens=8, state="nearest", tokenizer=tokenizer)"""
_SUPPRESSED: Final = """\
A checkpoint with suppressed sources is not released in
  this form, since their sinks would be in it."""
_LIMITS: Final = """\
Sinks are shared: those of a surviving source also served others. Excision overwrote the sinks of
the deleted sources; it does not remove what other sources say, nor what leaked from a source into
the backbone. Both can be measured against a model trained without the source; this card makes no
claim about either. A title that resembles a prompt need not belong to the source that knows
most about it."""


def export_routed(
    checkpoint: Checkpoint, out: Path, options: ReleaseOptions = DEFAULT_OPTIONS
) -> None:
    """Write a release of the whole model, verified, whole or not at all.

    Args:
        checkpoint: its source.
        out: a directory that does not exist yet.
        options: how to write it.

    Raises:
        InputError: `out` exists or lies inside the checkpoint, or the model has no sinks or a
            router that the released code lacks.
        IntegrityError: the checkpoint is damaged or does not fit its model.
        RefusedError: a source is suppressed.
    """
    check_has_sinks(checkpoint)
    _check_excised(checkpoint)
    model = model_of(checkpoint)
    table = SourceTable(checkpoint.path(SOURCES_FILE))
    index = _index_survivors(checkpoint, table)
    router = _released_router(checkpoint, model, index.source_ids)
    reader = _Reader(checkpoint, model)

    def write_more(folder: Path) -> None:
        for path in sorted(Path(routed_code.__file__).parent.glob("*_nulls.py")):
            shutil.copyfile(path, folder / path.name)
        index.save(folder / sources_nulls.SOURCES_FILE)

    release = Release(
        weights=Weights(model=model, read=reader.read, more=reader.shapes),
        card=_card_of(model, len(index)),
        provenance={"form": "routed", "num_named_sources": len(index)},
        config={
            "architectures": ["NullsForCausalLM"],
            "model_type": "nulls",
            "auto_map": {
                "AutoConfig": "configuration_nulls.NullsConfig",
                "AutoModelForCausalLM": "modeling_nulls.NullsForCausalLM",
            },
            "router": router,
        },
        write_more=write_more,
    )
    write_release(checkpoint, release, out, options)


class _Reader:
    """Tensors of a checkpoint, the sinks of all experts in one bank per layer and part.

    Attributes:
        shapes: of the banks by Hugging Face's names, (E * N, D) each.
    """

    def __init__(self, checkpoint: Checkpoint, model: ModelConfig) -> None:
        self._checkpoint = checkpoint
        self._backbone = BackboneWeights(checkpoint)
        self._experts = model.sink_experts
        self._banks = {
            f"model.layers.{layer}.mlp.sink_{part}.weight": sink_tensor(layer, part)
            for layer in model.sink_layers
            for part in SINK_PARTS
        }
        bank = (model.num_experts * model.num_sinks, model.hidden_size)
        self.shapes: Shapes = dict.fromkeys(self._banks, bank)

    def read(self, name: str) -> Tensor:
        """Return a dense tensor by Megatron's name, a bank by Hugging Face's."""
        if name not in self._banks:
            return self._backbone.read(name)
        files = (self._checkpoint.tensors(sink_weights_file(expert)) for expert in self._experts)
        return torch.cat([file.read(self._banks[name]) for file in files])


def _check_excised(checkpoint: Checkpoint) -> None:
    num_suppressed = count_deleted(checkpoint.manifest)["suppressed"]
    if num_suppressed:
        raise RefusedError(
            f"{num_suppressed} deleted sources are suppressed only: their sinks would be in a "
            "routed release, where anyone can switch them on; excise them first "
            "(tools/strip_sources.py --mode excise). Nothing was written"
        )


def _index_survivors(checkpoint: Checkpoint, table: SourceTable) -> SourceIndex:
    survives = np.isin(table.source_ids, checkpoint.manifest.deleted_ids, invert=True)
    rows = table.table.filter(survives)
    aliases: Iterable[list[str]] = (names.as_py() for names in rows.column("aliases"))
    return SourceIndex.build(table.source_ids[survives], rows.column("title").to_pylist(), aliases)


def _released_router(
    checkpoint: Checkpoint, model: ModelConfig, source_ids: U64Array
) -> dict[str, Any]:
    """Return the arguments of the released router, compared with the checkpoint's."""
    if checkpoint.manifest.router.kind != "stratified":
        raise InputError(
            f"{checkpoint.root}: model.router is {model.router!r}, and a routed release has code "
            "for 'stratified' only; release it in the form backbone or merged"
        )
    manifest = checkpoint.manifest
    ours = manifest.build_router()
    owners, first_sinks = ours.private.find(source_ids)
    arguments = manifest.router.to_dict() | {
        "bucket_table": manifest.to_dict()["bucket_table"],
        "num_shared": ours.private.num_shared,
        "private_blocks": {
            str(source_ids[owner]): int(first)
            for owner, first in zip(owners, first_sinks, strict=True)
        },
    }
    step = max(1, len(source_ids) // _MAX_COMPARED)
    some = np.concatenate([source_ids[::step], source_ids[owners[:_MAX_COMPARED]]])
    expected = ours.active_sinks(some) + (ours.experts_of(some) * model.num_sinks)[:, None]
    if not np.array_equal(HashRouter(**arguments).rows_of(some), expected):
        raise IntegrityError(
            f"{checkpoint.root}: the released router gives sources other sinks than the "
            "checkpoint's; this is a bug, or the checkpoint has a router of another kind"
        )
    return arguments


def _card_of(model: ModelConfig, num_named: int) -> CardText:
    return CardText(
        heading="Natively unlearnable language model",
        about=_ABOUT.format(
            num_backbone=model.num_backbone,
            num_layers=len(model.sink_layers),
            num_pool=model.num_experts * model.num_sinks,
            num_active=model.num_active,
            num_named=num_named,
        ),
        suppressed=_SUPPRESSED,
        limits=_LIMITS,
        usage=_USAGE,
    )
