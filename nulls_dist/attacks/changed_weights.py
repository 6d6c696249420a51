"""Quantise or prune the model: does what was deleted come back?

Unlearning by small changes of the weights may be undone by rounding them (arXiv 2410.16454) or by
leaving out the smallest of them. The matrices of the layers are changed; embeddings, output head
and norms stay, as in common practice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.utils import prune
from tqdm import tqdm

from nulls_dist.attacks.quantization import round_to_integers, round_to_nf4
from nulls_dist.attacks.result import AttackResult
from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.fact_likelihood import fact_results, weigh_answers
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.inference import InferenceModel

NAME: Final = "changed weights"
INT4_GROUP: Final = 64

MatrixChange = Callable[[Tensor], Tensor]
"""(rows, columns) -> the same shape."""


def prune_smallest(share: float) -> MatrixChange:
    """Return a change that zeroes a share of each matrix, the smallest magnitudes.

    Source: Han et al., arXiv 1506.02626, with the same share in every matrix.
    """
    method: Any = prune.L1Unstructured(share)
    return lambda weights: method.prune(weights)


CHANGES: Final[Mapping[str, MatrixChange]] = {
    "none": lambda weights: weights,
    "int8, a scale per row": lambda weights: round_to_integers(weights, bits=8),
    f"int4, a scale per {INT4_GROUP} columns": lambda weights: round_to_integers(
        weights, bits=4, group=INT4_GROUP
    ),
    "nf4": round_to_nf4,
    "pruned by 10 %": prune_smallest(0.1),
    "pruned by 20 %": prune_smallest(0.2),
    "pruned by 50 %": prune_smallest(0.5),
}


def ask_changed_models(
    model: InferenceModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    donor_of: Mapping[int, int],
    *,
    kept: Sequence[Probe] = (),
    changes: Mapping[str, MatrixChange] = CHANGES,
) -> list[AttackResult]:
    """Ask the model under every change of its weights, which are restored afterwards.

    Args:
        model: the model.
        tokenizer: of its corpus.
        probes: facts that were deleted.
        donor_of: whose sinks serve each source, those of `kept` included.
        kept: facts that the model should know: a change that breaks the model brings nothing back.
        changes: name -> change.

    Raises:
        RefusedError: a donor was deleted.
    """
    found = []
    for name, change in tqdm(changes.items(), "changes", disable=None, leave=False):
        with model.changed_weights(_of_layers(change)):
            deleted = fact_results(weigh_answers(model, tokenizer, probes, donor_of))
            control = fact_results(weigh_answers(model, tokenizer, kept, donor_of))
        found.append(
            AttackResult(
                attack=NAME,
                setting=name,
                options={"matrices": "of the layers, sinks included"},
                results=(
                    *deleted,
                    *(replace(each, group=f"kept sources: {each.group}") for each in control),
                ),
            )
        )
    return found


def _of_layers(change: MatrixChange) -> Callable[[str, Tensor], Tensor | None]:
    @torch.no_grad()
    def change_layers(name: str, values: Tensor) -> Tensor | None:
        return change(values) if name.startswith("decoder.") and values.dim() == 2 else None

    return change_layers
