"""Questions that a user brings to a deletion."""

import json

import pytest

from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import InputError, UnknownSourceError
from nulls_dist.eval.evidence import read_questions
from tests.checkpoint_factory import key_id, numbered_rows, write_source_table


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "sources.parquet"
    write_source_table(path, numbered_rows())
    return SourceTable(path)


def write(path, *lines):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def question(source, prompt="Where?", answer="Here"):
    return json.dumps({"source": source, "prompt": prompt, "answer": answer})


def test_questions_name_their_sources_as_lists_do(table, tmp_path):
    lines = [question("Title 03"), "", question("key:k-7", answer="There"), question("title 03")]
    probes = read_questions(write(tmp_path / "q.jsonl", *lines), table)
    assert [(probe.source_id, probe.answer) for probe in probes] == [
        (key_id("k-3"), "Here"),
        (key_id("k-7"), "There"),
        (key_id("k-3"), "Here"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "line 2: not JSON"),
        ("[" * 100_000, "line 2: not JSON"),
        ("[]", "line 2: must be an object"),
        ('{"source": "Title 03", "prompt": "x"}', "line 2: must be an object"),
        (question("Title 03", answer=""), "line 2: must be an object"),
        ('{"source": 3, "prompt": "x", "answer": "y"}', "line 2: must be an object"),
    ],
)
def test_a_line_of_another_form_is_refused_with_its_number(table, tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        read_questions(write(tmp_path / "q.jsonl", question("Title 03"), line), table)


def test_questions_that_are_not_utf8_are_refused(table, tmp_path):
    (tmp_path / "q.jsonl").write_bytes(question("Title 03").encode() + b"\n\xff\n")
    with pytest.raises(InputError, match=r"q\.jsonl, byte .*: not UTF-8"):
        read_questions(tmp_path / "q.jsonl", table)


def test_a_question_about_an_unknown_source_is_refused(table, tmp_path):
    with pytest.raises(UnknownSourceError, match="'Title 99' is unknown"):
        read_questions(write(tmp_path / "q.jsonl", question("Title 99")), table)


def test_no_questions_are_refused(table, tmp_path):
    for path in (tmp_path / "absent", write(tmp_path / "empty.jsonl", "")):
        with pytest.raises(InputError):
            read_questions(path, table)
