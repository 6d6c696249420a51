"""Which surviving source is most like a given one, by the words they share.

Cosine of tf-idf vectors over tokens, binary term frequency. Exact and dense in blocks: meant for
hundreds of questions against tens of thousands of sources.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from nulls_dist.data.corpus import Corpus

_BLOCK_SOURCES: Final = 1024


def nearest_sources(
    corpus: Corpus, source_ids: Sequence[int], candidates: Sequence[int]
) -> dict[int, int]:
    """Return the most similar candidate of every source, itself left out.

    Args:
        corpus: where the text is.
        source_ids: sources to find a neighbour for; they need not be candidates.
        candidates: at least two sources.
    """
    frequency = np.zeros(corpus.manifest.tokenizer.vocab_size, dtype=np.int64)
    everyone = np.unique(corpus.source_ids)
    for source_id in everyone:
        frequency[_vocabulary_of(corpus, int(source_id))] += 1
    weights = np.log(len(everyone) / np.maximum(frequency, 1)).astype(np.float32)
    asked = _vectors(corpus, source_ids, weights)
    best = np.full(len(source_ids), -1.0)
    nearest = dict.fromkeys(source_ids, candidates[0])
    for begin in range(0, len(candidates), _BLOCK_SOURCES):
        block = candidates[begin : begin + _BLOCK_SOURCES]
        similarity = asked @ _vectors(corpus, block, weights).T
        similarity[np.array(source_ids)[:, None] == np.array(block)[None]] = -1.0
        choice = similarity.argmax(1)
        score = similarity[np.arange(len(source_ids)), choice]
        for index in np.flatnonzero(score > best):
            nearest[source_ids[int(index)]] = block[int(choice[index])]
        best = np.maximum(best, score)
    return nearest


def _vocabulary_of(corpus: Corpus, source_id: int) -> npt.NDArray[np.int64]:
    documents = np.flatnonzero(corpus.source_ids == np.uint64(source_id))
    return np.unique(np.concatenate([corpus.tokens(int(number)) for number in documents]))


def _vectors(
    corpus: Corpus, source_ids: Sequence[int], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    vectors = np.zeros((len(source_ids), len(weights)), dtype=np.float32)
    for row, source_id in enumerate(source_ids):
        words = _vocabulary_of(corpus, source_id)
        vectors[row, words] = weights[words]
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.maximum(norms, 1e-12)
    return vectors
