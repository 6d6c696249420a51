"""Show the model the beginning of a deleted document: does it go on as the document does?"""

from collections.abc import Mapping, Sequence
from typing import Final

from nulls_dist.attacks.questions import Question, tokenize_probe
from nulls_dist.attacks.result import AttackResult, NotApplicableError
from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.fact_likelihood import FactAnswer, fact_results
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.recitation import (
    Document,
    continuation_results,
    recall_results,
    score_documents,
)
from nulls_dist.eval.token_scores import LanguageModel, Passage, score_passages

NAME: Final = "prefix"
FACTS_NAME: Final = "facts in their documents"


def continue_documents(
    model: LanguageModel,
    tokenizer: Tokenizer,
    documents: Sequence[Document],
    donor_of: Mapping[int, int],
    *,
    prefix_tokens: int,
    eos_id: int,
) -> AttackResult:
    """Continue documents greedily after their true first tokens.

    Args:
        model: the model.
        tokenizer: of its corpus.
        documents: each longer than the prefix.
        donor_of: whose sinks serve each source.
        prefix_tokens: what the model is given.
        eos_id: ends a document.

    Returns:
        Extraction strength, memorization accuracy, exact and leading continuation, ROUGE-L.

    Raises:
        ConfigError: rouge-score is not installed.
        NotApplicableError: a document is no longer than the prefix.
        RefusedError: a donor was deleted.
    """
    group = "documents"
    recalled = recall_results(group, documents, score_documents(model, documents, donor_of))
    continued = continuation_results(
        model, tokenizer, group, documents, donor_of, prefix_tokens=prefix_tokens, eos_id=eos_id
    )
    return AttackResult(
        attack=NAME,
        setting=f"first {prefix_tokens} tokens",
        options={"prefix_tokens": prefix_tokens, "decoding": "greedy"},
        results=(*recalled, *continued),
    )


def recall_in_documents(
    model: LanguageModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    documents: Sequence[Document],
    donor_of: Mapping[int, int],
) -> AttackResult:
    """Ask for each fact where its own document states it, after all that stands before.

    Args:
        model: the model.
        tokenizer: of its corpus.
        probes: those whose sentence stands in no document of their source are left out.
        documents: the first of a source that holds the sentence is taken.
        donor_of: whose sinks serve each source.

    Raises:
        NotApplicableError: no document states a fact.
        RefusedError: a donor was deleted.
    """
    found = []
    for probe in probes:
        question = tokenize_probe(tokenizer, probe)
        before = _text_before(question, probe, documents)
        if before is not None:
            found.append((probe, question, before))
    if not found:
        raise NotApplicableError(
            f"none of {len(probes)} facts stands in one of {len(documents)} documents; cut the "
            "documents later, or leave this attack out"
        )
    passages = [
        Passage(tokens=[*before, *answer], start=len(before), source_id=donor_of[probe.source_id])
        for probe, question, before in found
        for answer in (question.right, *question.wrong)
    ]
    scores = iter(score_passages(model, passages, unit="answers"))
    answers = []
    for probe, question, _ in found:
        right = next(scores)
        wrong = tuple(next(scores).nll for _ in question.wrong)
        answers.append(
            FactAnswer(probe=probe, is_right=right.is_greedy, right=right.nll, wrong=wrong)
        )
    return AttackResult(
        attack=FACTS_NAME,
        setting="all that stands before",
        options={"num_probes": len(probes), "num_found": len(found)},
        results=tuple(fact_results(answers)),
    )


def _text_before(
    question: Question, probe: Probe, documents: Sequence[Document]
) -> tuple[int, ...] | None:
    """Return what stands before a fact's answer in a document of its source, if one states it."""
    # The first token of a document lacks the space that it has inside a text.
    beginning = question.prompt[1:]
    sentence = beginning + question.right
    for document in documents:
        if document.source_id == probe.source_id:
            first = 0 if beginning else 1  # something must stand before the answer
            for place in range(first, len(document.tokens) - len(sentence) + 1):
                if document.tokens[place : place + len(sentence)] == sentence:
                    return document.tokens[: place + len(beginning)]
    return None
