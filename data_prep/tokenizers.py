"""The corpus's tokenizer: a file that was given, or one trained on the corpus's text."""

import re
import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from data_prep.train_tokenizer import FIXED_PIECES, train_bpe
from nulls_dist.data.format import TOKENIZER_DIR, TokenizerRecord
from nulls_dist.data.tokenizer import (
    HF_FILE,
    SENTENCEPIECE_FILE,
    choose_eos,
    open_tokenizer_file,
    record_tokenizer,
)
from nulls_dist.errors import ConfigError

MAX_TRAINING_BYTES: Final = 128 << 20
"""Text that a tokenizer is trained on, which takes three to four times as much memory; more adds
memory and time, but no better merges."""


def trained_vocab_size(choice: str) -> int | None:
    """Return N of "train:bpe:N", or None where `choice` names a file.

    Raises:
        ConfigError: it starts with "train:" and is not of that form, or N is too small.
    """
    if not choice.startswith("train:"):
        return None
    match = re.fullmatch(r"train:bpe:([1-9][0-9]{0,6})", choice)
    if match is None:
        raise ConfigError(f"--tokenizer {choice}: must be a file or train:bpe:N")
    if int(match[1]) <= FIXED_PIECES:
        raise ConfigError(
            f"--tokenizer {choice} leaves no room beside {FIXED_PIECES} fixed pieces (256 bytes, "
            "unknown, end of document); give a larger size"
        )
    return int(match[1])


def check_tokenizer(choice: str, eos_token: str | None) -> None:
    """Refuse a tokenizer that cannot be used, before hours of reading and cleaning.

    Raises:
        ConfigError: `choice` is malformed, or an end token is given for a trained one.
        InputError: the file is missing or unusable.
    """
    if trained_vocab_size(choice) is None:
        choose_eos(open_tokenizer_file(Path(choice)), Path(choice), eos_token)
    elif eos_token is not None:
        raise ConfigError("--eos-token is for a tokenizer file; a trained one has its own")


def install_tokenizer(
    choice: str, root: Path, *, eos_token: str | None, texts: Iterable[str], num_text_bytes: int
) -> TokenizerRecord:
    """Put the tokenizer into a corpus and return its record.

    Args:
        choice: a file, or "train:bpe:N".
        root: directory of the corpus.
        eos_token: name of the token that ends documents; None chooses a usual one.
        texts: of the corpus, to train on; not read where a file is given.
        num_text_bytes: their length in UTF-8.
    """
    shutil.rmtree(root / TOKENIZER_DIR, ignore_errors=True)  # of a build that was killed
    (root / TOKENIZER_DIR).mkdir()
    vocab_size = trained_vocab_size(choice)
    if vocab_size is not None:
        file = f"{TOKENIZER_DIR}/{SENTENCEPIECE_FILE}"
        train_bpe(_sample(texts, num_text_bytes), vocab_size, root / file)
    else:
        name = HF_FILE if Path(choice).suffix == ".json" else SENTENCEPIECE_FILE
        file = f"{TOKENIZER_DIR}/{name}"
        shutil.copyfile(choice, root / file)
    eos_id = choose_eos(open_tokenizer_file(root / file), root / file, eos_token)
    return record_tokenizer(root, file, eos_id)


def _sample(texts: Iterable[str], num_text_bytes: int) -> Iterator[str]:
    """Return every n-th text, n such that about `MAX_TRAINING_BYTES` come together."""
    return islice(texts, 0, None, -(-num_text_bytes // MAX_TRAINING_BYTES))
