"""Training of a SentencePiece BPE tokenizer: the same text and size give the same bytes.

Identity normalisation, kept white space and byte fallback make encoding lossless (except that
U+2581, the character that stands for a space inside the model, comes back as a space). There is
no dummy prefix: it would make the twin in Hugging Face's format differ.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from nulls_dist.durable import write_bytes
from nulls_dist.errors import InputError

EOS_PIECE: Final = "</s>"

FIXED_PIECES: Final = 2 + 256
"""Unknown, end of document, and the bytes."""

_MAX_LINE_BYTES: Final = 1 << 16


def train_bpe(texts: Iterable[str], vocab_size: int, path: Path) -> None:
    """Train a BPE model and write it to `path`.

    Args:
        texts: documents; all their lines are held in memory.
        vocab_size: upper bound of the vocabulary, above `FIXED_PIECES`; a text too small for it
            gives a smaller one.
        path: the .model file to write.

    Raises:
        InputError: there is no text, or the bound has no room for the text's characters.
    """
    import sentencepiece  # heavy: not needed for --help

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_training_lines(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            byte_fallback=True,
            max_sentence_length=_MAX_LINE_BYTES,
            num_threads=1,
            unk_id=0,
            eos_id=1,
            eos_piece=EOS_PIECE,
            bos_id=-1,
            pad_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(
            f"--tokenizer train:bpe:{vocab_size} cannot be trained on this text: {error}"
        ) from error
    write_bytes(path, model.getvalue())


def _training_lines(texts: Iterable[str]) -> Iterator[str]:
    """Yield lines, cut where they are too long for the trainer, which would leave them out."""
    max_chars = _MAX_LINE_BYTES // 4
    for text in texts:
        for line in text.split("\n"):
            for begin in range(0, len(line), max_chars):
                yield line[begin : begin + max_chars]
