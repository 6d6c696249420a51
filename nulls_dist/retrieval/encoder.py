"""Texts as vectors whose cosine says how alike they are.

N texts, D dimensions. The built-in encoder needs no model: it counts runs of letters.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from nulls_dist import hashing
from nulls_dist.errors import ConfigError

Vectors = npt.NDArray[np.float32]

NGRAMS: Final = "ngrams"
_NGRAM_LENGTHS: Final = (3, 4, 5)
_NUM_DIMENSIONS: Final = 256
_BLOCK_TEXTS: Final = 4096


class Encoder(Protocol):
    """Turns texts into vectors; deterministic."""

    name: str
    """Changes with anything that changes a vector: an index is read with the encoder it names."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return (N, D) float32 of length 1, or 0 where a text says nothing."""


class NgramEncoder:
    """Runs of 3 to 5 letters, each hashed to a signed dimension.

    Source: Weinberger et al. 2009, "Feature hashing for large scale multitask learning"
    (arXiv 0902.2206): signs make the collisions cancel on average. A spelling mistake changes only
    the runs it lies in.
    """

    name = f"{NGRAMS}-{_NGRAM_LENGTHS[0]}-{_NGRAM_LENGTHS[-1]}-{_NUM_DIMENSIONS}-v1"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return (N, D) float32 of length 1, or 0 where a text says nothing."""
        vectors = np.empty((len(texts), _NUM_DIMENSIONS), dtype=np.float32)
        for begin in range(0, len(texts), _BLOCK_TEXTS):
            block = texts[begin : begin + _BLOCK_TEXTS]
            vectors[begin : begin + len(block)] = _count_ngrams(block)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(norms, np.finfo(np.float32).tiny)
        return vectors


class SentenceEncoder:
    """A model of the sentence-transformers package, for nearness by meaning."""

    def __init__(self, model: str) -> None:
        """Load a model by name or path.

        Raises:
            ConfigError: the package is not installed.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise ConfigError(
                f"encoder {model!r} needs a package that is not installed: "
                f"pip install 'nulls-dist[embeddings]', or take the encoder {NGRAMS!r}"
            ) from None
        self.name = f"sentence-transformers:{model}"
        self._model: Any = SentenceTransformer(model)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return (N, D) float32 of length 1."""
        vectors = self._model.encode(list(texts), normalize_embeddings=True)
        return np.asarray(vectors, dtype=np.float32)


def open_encoder(name: str) -> Encoder:
    """Return the built-in encoder for "ngrams", else the sentence-transformers model of that name.

    Raises:
        ConfigError: the package is not installed.
    """
    return NgramEncoder() if name == NGRAMS else SentenceEncoder(name)


def _count_ngrams(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the signed sums of the texts' runs: (N, D)."""
    padded = [
        f" {' '.join(unicodedata.normalize('NFC', text).casefold().split())} " for text in texts
    ]
    letters = np.frombuffer("".join(padded).encode("utf-32-le", "replace"), np.uint32)
    lengths = np.array([len(text) for text in padded])
    text_of = np.repeat(np.arange(len(texts)), lengths)
    sums = np.zeros(len(texts) * _NUM_DIMENSIONS)
    for length in _NGRAM_LENGTHS:
        starts = len(letters) - length + 1
        if starts < 1:
            break
        hashes = np.full(starts, length, dtype=np.uint64)
        for offset in range(length):
            hashes = hashing.mix(hashes ^ letters[offset : offset + starts])
        inside = text_of[:starts] == text_of[length - 1 :]
        hashes, texts_here = hashes[inside], text_of[:starts][inside]
        signs = np.where(hashes & np.uint64(1), 1.0, -1.0)
        places = texts_here * _NUM_DIMENSIONS + hashing.below(hashes, _NUM_DIMENSIONS)
        sums += np.bincount(places, weights=signs, minlength=len(sums))
    return sums.reshape(len(texts), _NUM_DIMENSIONS)
