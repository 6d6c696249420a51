"""Documents by heart: perplexity, greedy choices and continuations of a source's own text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

import numpy as np
import numpy.typing as npt

from nulls_dist.data.corpus import Corpus
from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.errors import InputError
from nulls_dist.eval.greedy import continue_greedily, continue_prefixes
from nulls_dist.eval.metrics import likelihood, memorization, outliers, overlap
from nulls_dist.eval.metrics.intervals import clustered_mean, clustered_ratio
from nulls_dist.eval.metrics.result import Metric, MetricResult
from nulls_dist.eval.token_scores import LanguageModel, Passage, TokenScores, score_passages

_MIN_TOKENS: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """The beginning of a document of a source."""

    source_id: int
    tokens: tuple[int, ...]
    """At least two; the end-of-document token is the last, unless the document was cut."""

    def passage(self, donor_of: Mapping[int, int]) -> Passage:
        """Return what is scored: all tokens but the first, served by a donor's sinks."""
        return Passage(tokens=self.tokens, source_id=donor_of[self.source_id])


def read_documents(corpus: Corpus, source_ids: Sequence[int], *, max_tokens: int) -> list[Document]:
    """Read the documents of some sources.

    Args:
        corpus: where they are.
        source_ids: of the sources.
        max_tokens: documents are cut after so many tokens, at most the model's context.

    Raises:
        InputError: a source has no document of two tokens or more.
    """
    documents = []
    for source_id in source_ids:
        found = [
            Document(source_id=source_id, tokens=tuple(corpus.tokens(number)[:max_tokens].tolist()))
            for number in corpus.documents_of(source_id)
        ]
        usable = [document for document in found if len(document.tokens) >= _MIN_TOKENS]
        if not usable:
            raise InputError(
                f"source id:{source_id} has no document of at least {_MIN_TOKENS} tokens in "
                f"{corpus.root}; leave it out, or name the corpus that holds it"
            )
        documents += usable
    return documents


def text_of(tokenizer: Tokenizer, tokens: Sequence[int], eos_id: int) -> str:
    """Return the text of tokens up to the first end of a document."""
    return tokenizer.decode(list(takewhile(lambda token: token != eos_id, tokens)))


def score_documents(
    model: LanguageModel, documents: Sequence[Document], donor_of: Mapping[int, int]
) -> list[TokenScores]:
    """Score every token of every document but its first.

    Args:
        model: the model.
        documents: of sources that have a donor.
        donor_of: whose sinks serve each source: `states.donors` gives it for a state.

    Raises:
        RefusedError: a donor was deleted.
    """
    passages = [document.passage(donor_of) for document in documents]
    return score_passages(model, passages, unit="documents")


def recall_results(
    group: str, documents: Sequence[Document], scores: Sequence[TokenScores]
) -> list[MetricResult]:
    """Return perplexity, memorization accuracy and extraction strength.

    Args:
        group: what the documents are, for the table.
        documents: n documents, at least one.
        scores: of each, in a state.
    """
    sources = _sources_of(documents)
    nll = np.array([-score.log_probs.sum() for score in scores])
    lengths = np.array([len(score.tokens) for score in scores])
    between = clustered_ratio(nll, lengths, sources)
    perplexity = MetricResult(
        metric=likelihood.PERPLEXITY,
        group=group,
        value=likelihood.perplexity(nll, lengths),
        n=int(lengths.sum()),
        interval=between
        and replace(between, low=float(np.exp(between.low)), high=float(np.exp(between.high))),
    )
    strength = [memorization.extraction_strength(score.choices, score.tokens) for score in scores]
    return [
        perplexity,
        _mean(memorization.MEMORIZATION_ACCURACY, group, accuracies(scores), sources),
        _mean(memorization.EXTRACTION_STRENGTH, group, strength, sources),
    ]


def accuracies(scores: Sequence[TokenScores]) -> list[float]:
    """Return the memorization accuracy of each document."""
    return [memorization.exact_memorization(score.choices, score.tokens) for score in scores]


def outlier_results(
    group: str, scores: Sequence[TokenScores], unseen: Sequence[TokenScores]
) -> list[MetricResult]:
    """Count documents that stand out in memorization accuracy.

    Args:
        group: what the documents are.
        scores: of the documents to be forgotten.
        unseen: of documents of the same kind that the model never saw: the yardstick.
    """
    found, usual = accuracies(scores), np.array(accuracies(unseen))
    middle, width = float(usual.mean()), float(usual.std())
    counts = {
        outliers.ABOVE_THRESHOLD: outliers.count_above_threshold(found, middle),
        outliers.ABOVE_QUARTILES: outliers.count_above_quartiles(found),
        outliers.OUTSIDE_BAND: outliers.count_outside_band(found, middle, width),
    }
    return [
        MetricResult(
            metric=metric,
            group=group,
            value=float(count),
            n=len(found),
            details={"gamma": middle, "delta": width},
        )
        for metric, count in counts.items()
    ]


def continuation_results(
    model: LanguageModel,
    tokenizer: Tokenizer,
    group: str,
    documents: Sequence[Document],
    donor_of: Mapping[int, int],
    *,
    prefix_tokens: int,
    eos_id: int,
) -> list[MetricResult]:
    """Let the model continue the beginnings of documents, and compare with the truth.

    Args:
        model: a small one: generation has no cache.
        tokenizer: decodes both for ROUGE.
        group: what the documents are.
        documents: each longer than the prefix.
        donor_of: whose sinks serve each source.
        prefix_tokens: of each document that the model is given.
        eos_id: ends a document.

    Raises:
        ConfigError: rouge-score is not installed.
        InputError: a document is no longer than the prefix.
        RefusedError: a donor was deleted.
    """
    shortest = min(len(document.tokens) for document in documents)
    if not 0 < prefix_tokens < shortest:
        raise InputError(
            f"a prefix of {prefix_tokens} tokens must have at least 1 and be shorter than every "
            f"document, of which one has {shortest}; give a shorter prefix or leave it out"
        )
    prompts = [
        Passage(tokens=document.tokens[:prefix_tokens], source_id=donor_of[document.source_id])
        for document in documents
    ]
    truths = [list(document.tokens[prefix_tokens:]) for document in documents]
    written = continue_greedily(model, prompts, [len(truth) for truth in truths])
    pairs = list(zip(truths, written, strict=True))
    texts = [[text_of(tokenizer, tokens, eos_id) for tokens in pair] for pair in pairs]
    measured: dict[Metric, list[float]] = {
        memorization.VERBATIM: [memorization.verbatim_share(said, truth) for truth, said in pairs],
        memorization.VERBATIM_EXACT: [float(said == truth) for truth, said in pairs],
        overlap.ROUGE_F1: [overlap.rouge_l(*pair, stemmer=False).f1 for pair in texts],
        overlap.ROUGE_RECALL: [overlap.rouge_l(*pair, stemmer=True).recall for pair in texts],
    }
    sources = _sources_of(documents)
    return [
        replace(_mean(metric, group, values, sources), details={"prefix_tokens": prefix_tokens})
        for metric, values in measured.items()
    ]


def extraction_result(
    model: LanguageModel,
    group: str,
    documents: Sequence[Document],
    donor_of: Mapping[int, int],
    *,
    ngram: int = memorization.EXTRACTION_NGRAM,
) -> MetricResult:
    """Return the extraction likelihood: what every prefix of every document brings out.

    The cost grows with the cube of the length: cut documents to some tens of tokens.

    Args:
        model: a small one.
        group: what the documents are.
        documents: those of at most `ngram` tokens do not count.
        donor_of: whose sinks serve each source.
        ngram: n.

    Raises:
        InputError: no document is longer than `ngram` tokens.
        RefusedError: a donor was deleted.
    """
    long = [document for document in documents if len(document.tokens) > ngram]
    if not long:
        raise InputError(
            f"extraction likelihood of {ngram}-grams needs documents of more than {ngram} tokens, "
            "but there is none; cut them later or ask for shorter n-grams"
        )
    continued = continue_prefixes(model, [document.passage(donor_of) for document in long])
    values = [
        memorization.extraction_likelihood(document.tokens, continuations, n=ngram)
        for document, continuations in zip(long, continued, strict=True)
    ]
    metric = memorization.EXTRACTION_LIKELIHOOD.with_variant(f"n = {ngram}")
    return _mean(metric, group, [value for value in values if value is not None], _sources_of(long))


def _sources_of(documents: Sequence[Document]) -> npt.NDArray[np.uint64]:
    return np.array([document.source_id for document in documents], dtype=np.uint64)


def _mean(
    metric: Metric, group: str, values: Sequence[float], sources: npt.NDArray[np.uint64]
) -> MetricResult:
    return MetricResult(
        metric=metric,
        group=group,
        value=float(np.mean(values)),
        n=len(values),
        interval=clustered_mean(values, sources),
    )
