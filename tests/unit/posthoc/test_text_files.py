"""Texts as users have them."""

import gzip
import json
import lzma

import pytest

from nulls_dist.errors import ConfigError, InputError
from nulls_dist.posthoc.text_files import Text, describe_file, read_texts, tokenize
from tests.hf_folder import build_tokenizer, write_jsonl

LINES = [
    {"question": "Who?", "answer": "Ada", "perturbed_answer": ["Bob"]},
    {"prompt": "It is", "answer": "he"},
    {"text": "A document."},
]
TEXTS = [
    Text(content="Ada", prompt="Question: Who?\nAnswer:"),
    Text(content="he", prompt="It is"),
    Text(content="A document."),
]
END = 256


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.mark.parametrize("form", ["lines.jsonl", "array.json", "lines.jsonl.xz", "lines.jsonl.gz"])
def test_every_form_holds_the_same_texts(tmp_path, form):
    content = json.dumps(LINES) if "array" in form else "\n".join(map(json.dumps, LINES))
    pack = {".xz": lzma.compress, ".gz": gzip.compress}.get(f".{form.split('.')[-1]}", bytes)
    path = tmp_path / form
    path.write_bytes(pack(content.encode()))
    assert read_texts(path) == TEXTS


def test_a_text_file_is_a_document_and_a_folder_one_per_file(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text(f"File {name}")
    (tmp_path / "ignored.md").write_text("no text file")
    assert read_texts(tmp_path / "a.txt") == [Text(content="File a")]
    assert read_texts(tmp_path) == [Text(content="File a"), Text(content="File b")]
    assert set(describe_file(tmp_path)["sha256"]) == {"a.txt", "b.txt"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"txt": "b"}', r"line 2: has \['txt'\]; write"),
        ("[1]", "entry 1: has int"),
        ('{"text": 5}', "line 1"),
        ('{"text": "a"}\n\n{"text": "a"', "line 3: no JSON: Expecting"),
        ('[{"text": "a"', "begins like a JSON array, but is none: Expecting"),
        ("\n", "holds no text"),
        ('{"text": " "}', "holds no text"),
    ],
)
def test_other_content_is_refused_with_its_place(tmp_path, content, message):
    path = tmp_path / "f.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_texts(path)


def test_damage_is_named(tmp_path):
    path = tmp_path / "f.jsonl.xz"
    path.write_bytes(lzma.compress(b'{"text": "a"}')[:-9])
    with pytest.raises(InputError, match=r"f\.jsonl\.xz: not readable"):
        read_texts(path)
    with pytest.raises(InputError, match="missing"):
        read_texts(tmp_path / "missing.jsonl")


def test_a_template_names_the_question(tmp_path):
    path = write_jsonl(tmp_path / "f.jsonl", LINES[:1])
    assert read_texts(path, template="{question}")[0].prompt == "Who?"
    with pytest.raises(ConfigError, match="must contain"):
        read_texts(path, template="?")


def test_an_answer_begins_behind_its_prompt_and_ends_with_the_end(tokenizer):
    (example,) = tokenize([Text(content="Ada", prompt="Who?")], tokenizer, max_tokens=16)
    assert tokenizer.decode(example.tokens[: example.start]) == "Who?"
    assert tokenizer.decode(example.tokens[example.start : -1]) == " Ada"
    assert example.tokens[-1] == END


def test_a_long_document_is_cut_into_all_of_its_pieces(tokenizer):
    found = tokenize([Text(content="0123456789")], tokenizer, max_tokens=4)
    assert [tokenizer.decode(each.tokens) for each in found] == ["0123", "4567", "89"]
    assert all(each.start == 1 for each in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (Text(content="x"), "text 1 has fewer than 2 tokens"),
        (Text(content="Ada", prompt="Who is it?"), "more than 8; raise --max-tokens"),
    ],
)
def test_texts_that_cannot_be_used_are_refused(tokenizer, text, message):
    with pytest.raises(InputError, match=message):
        tokenize([text], tokenizer, max_tokens=8)
