"""Texts to forget and to keep, as users have them: documents, or questions with answers.

JSON lines or a JSON array of objects, plain, gzip or xz: {"text": ...}, {"prompt": ..., "answer":
...}, or TOFU's {"question": ..., "answer": ...}; further fields are passed over. A .txt file is one
document, a folder one per .txt file in it.
"""

import gzip
import json
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from nulls_dist.durable import sha256_file
from nulls_dist.errors import ConfigError, InputError
from nulls_dist.posthoc.contract import Example

DEFAULT_TEMPLATE: Final = "Question: {question}\nAnswer:"

_UNPACK: Final[Mapping[str, Any]] = {".gz": gzip.decompress, ".xz": lzma.decompress}
_DAMAGE: Final = (OSError, EOFError, lzma.LZMAError)
_MIN_TOKENS: Final = 2
_FORMS: Final = '{"text": ...}, {"prompt": ..., "answer": ...} or {"question": ..., "answer": ...}'


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A document, or an answer to a prompt."""

    content: str
    prompt: str | None = None
    """None for a document."""


def read_texts(path: Path, *, template: str = DEFAULT_TEMPLATE) -> list[Text]:
    """Read a file or folder of texts.

    Args:
        path: of one of the forms that the module names.
        template: makes a prompt of a "question".

    Raises:
        InputError: it cannot be read, has another form, or holds nothing.
        ConfigError: the template has no {question}.
    """
    if "{question}" not in template:
        raise ConfigError(f"template ({template!r}) must contain {{question}}")
    if path.is_dir():
        texts = [Text(content=_read(each)) for each in sorted(path.glob("*.txt"))]
    elif ".txt" in path.suffixes:
        texts = [Text(content=_read(path))]
    else:
        texts = [_text_of(entry, f"{path}, {place}", template) for place, entry in _entries(path)]
    found = [text for text in texts if text.content.strip()]
    if not found:
        raise InputError(f"{path} holds no text; give a .txt file, a folder of them, or {_FORMS}")
    return found


def describe_file(path: Path) -> dict[str, Any]:
    """Return a file's name and digest, those of every file of a folder; JSON-ready."""
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    return {"path": str(path), "sha256": {each.name: sha256_file(each) for each in files}}


def tokenize(texts: Sequence[Text], tokenizer: Any, *, max_tokens: int) -> tuple[Example, ...]:
    """Return texts in a model's tokens.

    Long documents are cut into pieces. Answers end with the tokenizer's end of text, if it has one;
    what the last token of a prompt fuses with belongs to the answer.

    Args:
        texts: what `read_texts` gives.
        tokenizer: of transformers.
        max_tokens: of an example.

    Raises:
        InputError: a prompt with its answer is longer, or a text has fewer than two tokens.
    """
    return tuple(
        example
        for number, text in enumerate(texts, 1)
        for example in _examples(text, number, tokenizer, max_tokens)
    )


def _examples(text: Text, number: int, tokenizer: Any, max_tokens: int) -> list[Example]:
    if text.prompt is None:
        tokens = tokenizer(text.content, verbose=False).input_ids
        pieces = [tokens[at : at + max_tokens] for at in range(0, len(tokens), max_tokens)]
        whole = [Example(tokens=tuple(piece)) for piece in pieces if len(piece) >= _MIN_TOKENS]
        if not whole:
            raise InputError(f"text {number} has fewer than {_MIN_TOKENS} tokens; leave it out")
        return whole
    prompt = tokenizer(text.prompt, verbose=False).input_ids
    tokens = tokenizer(f"{text.prompt} {text.content}", verbose=False).input_ids
    end = tokenizer.eos_token_id
    if end is not None:
        prompt, tokens = ([*takewhile(lambda each: each != end, ids)] for ids in (prompt, tokens))
        tokens.append(end)
    shared = list(takewhile(lambda pair: pair[0] == pair[1], zip(prompt, tokens, strict=False)))
    if len(tokens) > max_tokens:
        raise InputError(
            f"text {number}: prompt and answer have {len(tokens)} tokens, more than {max_tokens}; "
            "raise --max-tokens, up to the model's context, or shorten it"
        )
    return [Example(tokens=tuple(tokens), start=max(1, len(shared)))]


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        return str(_UNPACK.get(path.suffix, bytes)(content).decode("utf-8-sig"))
    except (*_DAMAGE, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as UTF-8 text: {error}") from error


def _entries(path: Path) -> list[tuple[str, Any]]:
    content = _read(path)
    if content.lstrip().startswith("["):
        entries = _parse(content, f"{path}: begins like a JSON array, but is none")
        return [(f"entry {n}", entry) for n, entry in enumerate(entries, 1)]
    return [
        (f"line {n}", _parse(line, f"{path}, line {n}: no JSON"))
        for n, line in enumerate(content.split("\n"), 1)
        if line.strip()
    ]


def _parse(text: str, complaint: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{complaint}: {error}; write {_FORMS}") from error


def _text_of(entry: Any, place: str, template: str) -> Text:
    given = entry if isinstance(entry, dict) else {}
    found = {name: value for name, value in given.items() if isinstance(value, str)}
    if "text" in found:
        return Text(content=found["text"])
    if "answer" in found and "prompt" in found:
        return Text(content=found["answer"], prompt=found["prompt"])
    if "answer" in found and "question" in found:
        return Text(
            content=found["answer"], prompt=template.replace("{question}", found["question"])
        )
    raise InputError(f"{place}: has {sorted(given) or type(entry).__name__}; write {_FORMS}")
