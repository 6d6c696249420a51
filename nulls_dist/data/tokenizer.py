"""Text to token ids, by a SentencePiece model or a Hugging Face tokenizer.json.

Both encode plain text only: a control token's name in the text ("</s>") is ordinary characters, so
no document can end itself. The end-of-document token is appended by the writer of the corpus.
"""

from pathlib import Path
from typing import Any, Final, Protocol

from nulls_dist.data.format import TokenizerRecord
from nulls_dist.data.sentencepiece_model import read_sentencepiece_model
from nulls_dist.durable import sha256_file
from nulls_dist.errors import InputError, IntegrityError

HF_FILE: Final = "tokenizer.json"
SENTENCEPIECE_FILE: Final = "spm.model"
EOS_TOKENS: Final = ("<|endoftext|>", "</s>", "<eos>")


class Tokenizer(Protocol):
    """Encodes and decodes text; deterministic."""

    @property
    def vocab_size(self) -> int:
        """Return one more than the highest id."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without any special token."""

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids."""

    def id_of(self, token: str) -> int | None:
        """Return the id of a token by its name, or None."""


class SentencePieceTokenizer:
    """A SentencePiece model that has an exact Hugging Face twin."""

    def __init__(self, path: Path) -> None:
        """Load a model.

        Raises:
            InputError: it is not a model, or the exported tokenizer could not give the same ids.
        """
        import sentencepiece  # heavy: not needed for --help

        model = read_sentencepiece_model(path)
        if reason := model.unconvertible():
            raise InputError(
                f"{path}: {reason}, so a Hugging Face tokenizer with the same ids on every text "
                "does not exist; train one with --tokenizer train:bpe:N"
            )
        self._ids = {piece.text: number for number, piece in enumerate(model.pieces)}
        self._processor: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))

    @property
    def vocab_size(self) -> int:
        """Return one more than the highest id."""
        return len(self._ids)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without any special token."""
        ids: list[int] = self._processor.encode(text)
        return ids

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids."""
        return str(self._processor.decode(ids))

    def id_of(self, token: str) -> int | None:
        """Return the id of a token by its name, or None."""
        return self._ids.get(token)


class HuggingFaceTokenizer:
    """A tokenizer.json without truncation, padding and post-processing."""

    def __init__(self, path: Path) -> None:
        """Load a tokenizer.

        Raises:
            InputError: it is not a tokenizer.json.
        """
        self._tokenizer = load_hf_tokenizer(path)
        self._tokenizer.encode_special_tokens = True

    @property
    def vocab_size(self) -> int:
        """Return one more than the highest id."""
        return int(max(self._tokenizer.get_vocab(with_added_tokens=True).values())) + 1

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without any special token."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def id_of(self, token: str) -> int | None:
        """Return the id of a token by its name, or None."""
        number: int | None = self._tokenizer.token_to_id(token)
        return number


def load_hf_tokenizer(path: Path) -> Any:
    """Load a tokenizer.json as `tokenizers.Tokenizer` that only maps text to ids.

    Raises:
        InputError: it is not a tokenizer.json, or its vocabulary is empty.
    """
    import tokenizers  # heavy: not needed for --help

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the binding raises nothing more specific
        raise InputError(f"{path}: not readable as a tokenizer.json: {error}") from error
    if not tokenizer.get_vocab_size():
        raise InputError(f"{path}: its vocabulary is empty")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.post_processor = None
    return tokenizer


def open_tokenizer_file(path: Path) -> Tokenizer:
    """Open a tokenizer by its file's suffix.

    Raises:
        InputError: the file is missing or of neither kind.
    """
    if not path.is_file():
        raise InputError(f"tokenizer file {path} does not exist")
    if path.suffix == ".json":
        return HuggingFaceTokenizer(path)
    if path.suffix == ".model":
        return SentencePieceTokenizer(path)
    raise InputError(f"tokenizer file {path} must end in .json (Hugging Face) or .model")


def choose_eos(tokenizer: Tokenizer, path: Path, eos_token: str | None = None) -> int:
    """Return the id of the token that ends documents.

    Args:
        tokenizer: its vocabulary is searched.
        path: its file, for the message.
        eos_token: name of the token; by default the first of `EOS_TOKENS` that exists.

    Raises:
        InputError: no such token.
    """
    names = EOS_TOKENS if eos_token is None else (eos_token,)
    for name in names:
        if (number := tokenizer.id_of(name)) is not None:
            return number
    raise InputError(
        f"{path}: no end-of-document token {' or '.join(names)} in its vocabulary; "
        "name one with --eos-token"
    )


def record_tokenizer(root: Path, file: str, eos_id: int) -> TokenizerRecord:
    """Describe the tokenizer file `root / file`.

    Raises:
        InputError: the file is not a usable tokenizer.
    """
    path = root / file
    return TokenizerRecord(
        kind="hf" if path.suffix == ".json" else "sentencepiece",
        file=file,
        sha256=sha256_file(path),
        vocab_size=open_tokenizer_file(path).vocab_size,
        eos_id=eos_id,
    )


def load_tokenizer(root: Path, record: TokenizerRecord) -> Tokenizer:
    """Open the tokenizer of a corpus or checkpoint.

    Raises:
        IntegrityError: the file is missing or differs from its checksum.
    """
    path = root / record.file
    if not path.is_file():
        raise IntegrityError(f"{path}: tokenizer is missing")
    if sha256_file(path) != record.sha256:
        raise IntegrityError(f"{path}: differs from its recorded checksum")
    return open_tokenizer_file(path)
