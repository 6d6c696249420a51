"""The exported tokenizer gives the ids that the corpus was built with."""

import lzma
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer
from transformers import AutoTokenizer

from data_prep.train_tokenizer import train_bpe
from nulls_dist.data.tokenizer import (
    HuggingFaceTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    choose_eos,
    record_tokenizer,
)
from nulls_dist.errors import InputError
from nulls_dist.export.hf_tokenizer import convert_sentencepiece, export_tokenizer

TRAINING_TEXT = (
    "the cat sat on the mat, the cats sat on that mat\n"
    "aaaa aaaaaa aaaaaaaa baaaa abab ababab abaaba\n"
    "na\u00efve d\u00e9j\u00e0, Gr\u00f6\u00dfe, \u0416\u0438\u0437\u043d\u044c "
    "\u0438 \u0441\u0443\u0434\u044c\u0431\u0430, \u6771\u4eac\u90fd \u6771\u4eac\n"
    "0x00 <0x41> </s> 1,000 10,000 100,000\n"
) * 8

mixed_text = st.text(
    st.one_of(
        st.sampled_from(list("aabbthe  \n\t\r,.0")),
        st.sampled_from(
            [
                *"\u2581\u00a0\u200d\ufeff\ufffd\x00\x1f\u6771\u4eac\u00e9\u0416",
                "\U0001f469",
                "\U0001f3fd",
            ]
        ),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "tokenizer"
    folder.mkdir()
    train_bpe([TRAINING_TEXT], 400, folder / "spm.model")
    return folder


@pytest.fixture(scope="module")
def exported(trained: Path) -> AutoTokenizer:
    record = record_tokenizer(trained.parent, "tokenizer/spm.model", eos_id=1)
    out = trained.parent / "exported"
    out.mkdir()
    export_tokenizer(trained, record, out, model_max_length=77)
    return AutoTokenizer.from_pretrained(out)


@pytest.fixture(scope="module")
def original(trained: Path) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(trained / "spm.model")


@pytest.fixture(scope="module")
def converted(trained: Path) -> RustTokenizer:
    return convert_sentencepiece(trained / "spm.model")


@given(text=mixed_text)
@example(text="</s><s><unk><0x41>")
@example(text="  two  spaces \n\n\t tab")
@example(text="aaaaaaaaaaaaaaabaaaaaaaaaaaabababaabaaba")
@example(text="\u2581a \u2581")
def test_sentencepiece_export_gives_identical_ids(
    original: SentencePieceTokenizer, converted: RustTokenizer, exported: AutoTokenizer, text: str
) -> None:
    expected = original.encode(text)
    assert converted.encode(text).ids == expected
    assert exported(text)["input_ids"] == expected


@given(text=mixed_text.filter(lambda text: "\u2581" not in text))
def test_trained_tokenizer_round_trips_any_text(
    original: SentencePieceTokenizer, exported: AutoTokenizer, text: str
) -> None:
    ids = original.encode(text)
    assert original.decode(ids) == text
    assert exported.decode(ids) == text


def test_export_names_the_end_token_and_the_length(exported: AutoTokenizer) -> None:
    assert exported.eos_token_id == 1
    assert exported.bos_token_id is None
    assert exported.model_max_length == 77


def test_dummy_prefix_is_exported_too(tmp_path: Path) -> None:
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING_TEXT.split("\n")),
        model_prefix=str(tmp_path / "prefix"),
        model_type="bpe",
        vocab_size=400,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        byte_fallback=True,
        minloglevel=2,
    )
    path = tmp_path / "prefix.model"
    converted = convert_sentencepiece(path)
    tokenizer = SentencePieceTokenizer(path)
    for text in ("the cat", " the", "", "  a", "\u2581a", "\na"):
        assert converted.encode(text).ids == tokenizer.encode(text), text
        assert converted.decode(tokenizer.encode(text)) == text.replace("\u2581", " ")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model_type": "unigram", "vocab_size": 310}, "type bpe"),
        ({"byte_fallback": False, "vocab_size": 80}, "byte fallback"),
        ({"normalization_rule_name": "nmt_nfkc"}, "normalises"),
        ({"remove_extra_whitespaces": True}, "remove_extra_whitespaces"),
        ({"user_defined_symbols": ["cat"]}, "user-defined"),
    ],
)
def test_models_without_an_exact_twin_are_refused(
    tmp_path: Path, options: dict[str, object], reason: str
) -> None:
    import sentencepiece

    settings: dict[str, object] = {
        "model_type": "bpe",
        "vocab_size": 400,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "byte_fallback": True,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING_TEXT.split("\n")),
        model_prefix=str(tmp_path / "other"),
        minloglevel=2,
        **settings | options,
    )
    with pytest.raises(InputError, match=reason):
        convert_sentencepiece(tmp_path / "other.model")
    with pytest.raises(InputError, match=reason):
        SentencePieceTokenizer(tmp_path / "other.model")


@pytest.fixture(scope="module")
def smollm2(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smollm2") / "tokenizer"
    folder.mkdir()
    packed = test_data / "tok" / "smollm2_tokenizer.json.xz"
    (folder / "tokenizer.json").write_bytes(lzma.decompress(packed.read_bytes()))
    return folder


@pytest.fixture(scope="module")
def smollm2_pair(smollm2: Path) -> tuple[Tokenizer, AutoTokenizer]:
    path = smollm2 / "tokenizer.json"
    tokenizer = HuggingFaceTokenizer(path)
    record = record_tokenizer(
        smollm2.parent, "tokenizer/tokenizer.json", eos_id=choose_eos(tokenizer, path)
    )
    out = smollm2.parent / "exported"
    out.mkdir()
    export_tokenizer(smollm2, record, out, model_max_length=1024)
    return tokenizer, AutoTokenizer.from_pretrained(out)


@given(text=mixed_text)
@example(text="one<|endoftext|>two</s>")
def test_given_tokenizer_export_gives_identical_ids(
    smollm2_pair: tuple[Tokenizer, AutoTokenizer], text: str
) -> None:
    ours, theirs = smollm2_pair
    assert theirs(text)["input_ids"] == ours.encode(text)


def test_given_tokenizer_ends_documents_with_its_own_token(
    smollm2_pair: tuple[Tokenizer, AutoTokenizer],
) -> None:
    ours, theirs = smollm2_pair
    assert theirs.eos_token == "<|endoftext|>"
    assert theirs.eos_token_id == ours.id_of("<|endoftext|>")
    assert theirs.eos_token_id not in ours.encode("a<|endoftext|>b")
    assert ours.vocab_size == 49152
