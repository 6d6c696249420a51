"""Release the backbone as a plain `LlamaForCausalLM`: no sink leaves, no custom code is needed."""

from pathlib import Path
from typing import Final

from nulls_dist.checkpoint.backbone import BackboneWeights
from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.export.llama import Weights
from nulls_dist.export.model_card import CardText
from nulls_dist.export.release import DEFAULT_OPTIONS, Release, ReleaseOptions, write_release

_CARD: Final = CardText(
    heading="Backbone of a natively unlearnable language model",
    about="""\
A plain `LlamaForCausalLM`: the backbone of a model whose MLPs also had a pool of sink neurons, each
serving a few of the training sources. This release holds no sink. What only one source said was
learned mostly by sinks, so the backbone knows what several sources have in common.""",
    suppressed="""\
They are never routed again in the checkpoint; their sinks
  are not in this release, as no sink is.""",
    limits="""\
Leaving the sinks out does not remove what several sources say, nor what leaked from a source into
the backbone. Both can be measured against a model trained without the source; this card makes no
claim about either.""",
)

_WITHOUT_SINKS: Final = CardText(
    heading="Language model without sinks",
    about="""\
A plain `LlamaForCausalLM`: the whole of an ordinary transformer, trained as natively unlearnable
language models are, to compare them with.""",
    suppressed="This model has no sinks, so no source can be deleted from it.",
    limits="""\
Nothing in these weights belongs to one source. To remove a source, the model must be trained again
without it.""",
)


def export_backbone(
    checkpoint: Checkpoint,
    out: Path,
    options: ReleaseOptions = DEFAULT_OPTIONS,
) -> None:
    """Write a release of the backbone, verified, whole or not at all.

    Args:
        checkpoint: its source.
        out: a directory that does not exist yet.
        options: how to write it.

    Raises:
        InputError: `out` exists or lies inside the checkpoint.
        IntegrityError: the checkpoint is damaged or does not fit its model.
    """
    model = model_of(checkpoint)
    release = Release(
        weights=Weights(model=model, read=BackboneWeights(checkpoint).read),
        card=_CARD if model.has_sinks else _WITHOUT_SINKS,
        provenance={"form": "backbone"},
    )
    write_release(checkpoint, release, out, options)
