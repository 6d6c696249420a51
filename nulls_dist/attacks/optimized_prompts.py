"""Search for prompts that make the model write a text: how short can they be?

The budget is that of a `SearchPlan` and of `SwapSettings`. A failure shows only that this search
found nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from tqdm import tqdm

from nulls_dist.attacks.questions import tokenize_probe
from nulls_dist.attacks.result import AttackResult
from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.inference import InferenceModel
from nulls_dist.eval.metrics.compression import SearchPlan
from nulls_dist.eval.prompt_search import (
    SMALL_PLAN,
    SwapSettings,
    Target,
    compress,
    compression_results,
)
from nulls_dist.eval.recitation import Document

NAME: Final = "optimized prompts"


def search_prompts(
    model: InferenceModel,
    group: str,
    texts: Sequence[Document],
    donor_of: Mapping[int, int],
    *,
    allowed: Sequence[int],
    plan: SearchPlan = SMALL_PLAN,
    settings: SwapSettings | None = None,
) -> AttackResult:
    """Search for the shortest prompt of every text.

    Args:
        model: the model; twice a text, or text and longest prompt, must fit its context.
        group: what the texts are.
        texts: beginnings of documents, or sentences of facts (`sentences_of`).
        donor_of: whose sinks serve each source.
        allowed: tokens that prompts may consist of (`text_tokens`).
        plan: lengths and number of steps.
        settings: of each step.

    Raises:
        RefusedError: a donor was deleted.
    """
    settings = settings or SwapSettings()
    found = []
    for text in tqdm(texts, desc="prompts", unit=" texts", disable=None, leave=False):
        target = Target(tokens=text.tokens, source_id=donor_of[text.source_id], allowed=allowed)
        found.append(compress(model, target, plan, settings))
    results = compression_results(group, found, [text.source_id for text in texts])
    return AttackResult(
        attack=NAME,
        setting=group,
        options={"plan": asdict(plan), "swaps": asdict(settings)},
        results=tuple(results),
    )


def sentences_of(tokenizer: Tokenizer, probes: Sequence[Probe]) -> list[Document]:
    """Return the true sentence of each probe, from prompt to full stop."""
    questions = [tokenize_probe(tokenizer, probe) for probe in probes]
    return [
        Document(source_id=probe.source_id, tokens=question.prompt + question.right)
        for probe, question in zip(probes, questions, strict=True)
    ]


def text_tokens(tokenizer: Tokenizer, eos_id: int) -> list[int]:
    """Return all tokens but the end of a document."""
    return [token for token in range(tokenizer.vocab_size) if token != eos_id]
