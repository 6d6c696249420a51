"""Tokenizers that are trained, and those that are given."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, processors

from data_prep.tokenizers import check_tokenizer, trained_vocab_size
from data_prep.train_tokenizer import train_bpe
from nulls_dist.data.tokenizer import (
    HuggingFaceTokenizer,
    choose_eos,
    load_tokenizer,
    open_tokenizer_file,
    record_tokenizer,
)
from nulls_dist.errors import ConfigError, InputError, IntegrityError

TEXT = "the cat sat on the mat and the dog sat on the cat\n"


def test_training_is_deterministic(tmp_path: Path) -> None:
    for name in ("a.model", "b.model"):
        train_bpe([TEXT, TEXT * 3], 300, tmp_path / name)
    assert (tmp_path / "a.model").read_bytes() == (tmp_path / "b.model").read_bytes()


def test_size_is_an_upper_bound(tmp_path: Path) -> None:
    train_bpe([TEXT], 8000, tmp_path / "spm.model")
    assert 258 < open_tokenizer_file(tmp_path / "spm.model").vocab_size < 400
    train_bpe([TEXT * 9], 280, tmp_path / "spm.model")
    assert open_tokenizer_file(tmp_path / "spm.model").vocab_size == 280


def test_long_lines_are_learned_from_too(tmp_path: Path) -> None:
    train_bpe(["zebra " * 40_000], 300, tmp_path / "spm.model")
    assert open_tokenizer_file(tmp_path / "spm.model").id_of("\u2581zebra") is not None


@pytest.mark.parametrize(
    ("texts", "size", "message"),
    [
        ([TEXT], 262, "required_chars"),
        ([], 300, "cannot be trained"),
    ],
)
def test_untrainable_sizes_and_texts_are_input_errors(
    tmp_path: Path, texts: list[str], size: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train_bpe(texts, size, tmp_path / "spm.model")
    assert not list(tmp_path.iterdir())


def test_choice_is_parsed() -> None:
    assert trained_vocab_size("train:bpe:8000") == 8000
    assert trained_vocab_size("folder/tokenizer.json") is None
    for wrong in ("train:bpe", "train:bpe:0", "train:unigram:8000", "train:bpe:8k"):
        with pytest.raises(ConfigError, match="must be a file or train:bpe:N"):
            trained_vocab_size(wrong)
    with pytest.raises(ConfigError, match="train:bpe:258 leaves no room"):
        trained_vocab_size("train:bpe:258")


def word_tokenizer(path: Path, vocab: dict[str, int]) -> Path:
    tokenizer = Tokenizer(models.WordLevel(vocab=vocab, unk_token="?"))
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding()
    tokenizer.save(str(path))
    return path


@pytest.mark.parametrize("eos", ["<|endoftext|>", "</s>", "<eos>"])
def test_end_token_is_found_by_its_usual_names(tmp_path: Path, eos: str) -> None:
    path = word_tokenizer(tmp_path / "tokenizer.json", {"?": 0, eos: 4})
    tokenizer = HuggingFaceTokenizer(path)
    assert choose_eos(tokenizer, path) == 4
    assert tokenizer.vocab_size == 5


def test_unusual_end_token_must_be_named(tmp_path: Path) -> None:
    path = word_tokenizer(tmp_path / "tokenizer.json", {"?": 0, "END": 1})
    with pytest.raises(InputError, match="--eos-token"):
        check_tokenizer(str(path), None)
    check_tokenizer(str(path), "END")
    with pytest.raises(InputError, match="STOP"):
        check_tokenizer(str(path), "STOP")
    with pytest.raises(ConfigError, match="--eos-token"):
        check_tokenizer("train:bpe:300", "END")


def test_given_tokenizers_never_truncate_or_add_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "<s>": 2, "</s>": 3}, merges=[]))
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    tokenizer.enable_truncation(2)
    tokenizer.save(str(path))
    assert HuggingFaceTokenizer(path).encode("abba</s>ab") == [0, 1, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b"{"),
        ("tokenizer.json", json.dumps({"a": 1}).encode()),
        ("spm.model", b""),
        ("spm.model", b"\x0a\xff\xff"),
        ("spm.model", b"hello, this is no model"),
        ("vocab.txt", b"a"),
    ],
)
def test_files_that_are_no_tokenizer_are_input_errors(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        check_tokenizer(str(tmp_path / name), None)


def test_recorded_tokenizer_is_checked_when_loaded(tmp_path: Path) -> None:
    train_bpe([TEXT], 300, tmp_path / "spm.model")
    record = record_tokenizer(tmp_path, "spm.model", eos_id=1)
    assert (record.kind, record.eos_id) == ("sentencepiece", 1)
    tokenizer = load_tokenizer(tmp_path, record)
    assert tokenizer.vocab_size == record.vocab_size
    assert tokenizer.id_of("</s>") == 1
    with (tmp_path / "spm.model").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(IntegrityError, match=r"spm\.model"):
        load_tokenizer(tmp_path, record)
    (tmp_path / "spm.model").unlink()
    with pytest.raises(IntegrityError, match="missing"):
        load_tokenizer(tmp_path, record)
