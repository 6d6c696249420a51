"""The corpus's tokenizer in Hugging Face's format, with identical ids on any text.

Why the conversion of a SentencePiece BPE model is exact. SentencePiece merges the adjacent pair
whose concatenation is the best-scored piece, leftmost first; Hugging Face merges the pair of lowest
rank, leftmost first. Inside the span of a token only merges inside that span took place, in the
order of their scores, so a piece always comes from one and the same pair. With a rank per pair in
the order of the pieces' distinct scores, both make the same merges.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from nulls_dist.data.format import TokenizerRecord
from nulls_dist.data.sentencepiece_model import (
    PieceType,
    SentencePieceModel,
    read_sentencepiece_model,
)
from nulls_dist.data.tokenizer import HF_FILE, load_hf_tokenizer
from nulls_dist.durable import write_json, write_text
from nulls_dist.errors import InputError

_SPACE: Final = "\u2581"
"""Stands for a space inside SentencePiece models."""


def convert_sentencepiece(model_path: Path) -> Any:
    """Return the `tokenizers.Tokenizer` that gives the same ids as a SentencePiece BPE model.

    Args:
        model_path: a .model file.

    Raises:
        InputError: the file is no SentencePiece model, or has no exact twin.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    model = read_sentencepiece_model(model_path)
    if reason := model.unconvertible():
        raise InputError(f"{model_path}: {reason}; it has no exact Hugging Face twin")
    vocab = {piece.text: number for number, piece in enumerate(model.pieces)}
    unknown = next(piece for piece in model.pieces if piece.kind is PieceType.UNKNOWN)
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab, merges=list(_merges(model)), unk_token=unknown.text, byte_fallback=True
        )
    )
    spaces = normalizers.Replace(" ", _SPACE)
    text_start = [decoders.Strip(" ", 1, 0)] if model.add_dummy_prefix else []
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend(_SPACE), spaces])
        if model.add_dummy_prefix
        else spaces
    )
    if not any(_SPACE in piece.text[1:] for piece in model.pieces):
        # No piece crosses into the next word, so words are encoded apart, which is faster.
        tokenizer.pre_tokenizer = pre_tokenizers.Split(_SPACE, behavior="merged_with_next")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(_SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *text_start,
        ]
    )
    return tokenizer


def _merges(model: SentencePieceModel) -> Iterator[tuple[str, str]]:
    """Yield the pairs that make each piece, best-scored pieces first."""
    normal = [piece for piece in model.pieces if piece.kind is PieceType.NORMAL]
    known = {piece.text for piece in normal}
    for piece in sorted(normal, key=lambda piece: -piece.score):
        for place in range(1, len(piece.text)):
            left, right = piece.text[:place], piece.text[place:]
            if left in known and right in known:
                yield left, right


def export_tokenizer(
    tokenizer_dir: Path,
    record: TokenizerRecord,
    out_dir: Path,
    *,
    model_max_length: int | None = None,
) -> None:
    """Write tokenizer.json and its configuration for `transformers.AutoTokenizer`.

    Names of special tokens in a text stay text (split_special_tokens), and nothing is added before
    or after it, as in the corpus.

    Args:
        tokenizer_dir: directory of the tokenizer file.
        record: the tokenizer.
        out_dir: existing directory to write to.
        model_max_length: longest text in tokens that the model was trained on; None without a
            model.
    """
    path = tokenizer_dir / PurePosixPath(record.file).name
    tokenizer = load_hf_tokenizer(path) if record.kind == "hf" else convert_sentencepiece(path)
    eos_token = tokenizer.id_to_token(record.eos_id)
    write_text(out_dir / HF_FILE, json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos_token,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
    }
    if model_max_length is not None:
        config["model_max_length"] = model_max_length
    write_json(out_dir / "tokenizer_config.json", config)
    write_json(out_dir / "special_tokens_map.json", {"eos_token": eos_token})
