"""sources.txt: what is accepted, what is refused, and that no line is lost."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.errors import InputError
from nulls_dist.source_list import (
    MAX_FILE_BYTES,
    MAX_LINE_BYTES,
    MAX_LINES,
    Means,
    parse_request,
    read_requests,
)

SPACES = st.sampled_from(["", " ", "\t", "\u00a0", "\u2028", "\x1c"])
PREFIXES = st.sampled_from(["", "id:", "key:", "title:", "url:", "Key:", "key", "#", "title: id:"])
LINE = st.tuples(SPACES, PREFIXES, SPACES, st.text("a:\u00fc ", max_size=4), SPACES).map("".join)


def read(tmp_path, content: bytes):
    path = tmp_path / "sources.txt"
    path.write_bytes(content)
    return [(request.line, request.means, request.name) for request in read_requests(path)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"Alan Turing\n", [(1, "any", "Alan Turing")]),
        (b"no line end", [(1, "any", "no line end")]),
        (b"\xef\xbb\xbfmarked\n", [(1, "any", "marked")]),
        (b"\xef\xbb\xbf# comment\nA\n", [(2, "any", "A")]),
        (b"A\r\nB\r\n", [(1, "any", "A"), (2, "any", "B")]),
        (b"# comment\n\n   \n  # indented\nA\n", [(5, "any", "A")]),
        (b"A # no comment\n", [(1, "any", "A # no comment")]),
        (b"  A  \t\n", [(1, "any", "A")]),
        ("\u00a0A\u00a0\n".encode(), [(1, "any", "A")]),
        ("line\u2028separator\n".encode(), [(1, "any", "line\u2028separator")]),
        ("next\u0085line\n".encode(), [(1, "any", "next\u0085line")]),
        (b"vertical\x0btab\x1cfile\n", [(1, "any", "vertical\x0btab\x1cfile")]),
        (b"id:123\n", [(1, "id", "123")]),
        (b"title: #1 hit\n", [(1, "title", "#1 hit")]),
        (b"title:id:5\n", [(1, "title", "id:5")]),
        (b"url:https://x.org/a\n", [(1, "url", "https://x.org/a")]),
        (b"key:k-1\n", [(1, "key", "k-1")]),
        (b"Title: subtitle\n", [(1, "any", "Title: subtitle")]),
        (b"1984\n", [(1, "any", "1984")]),
    ],
)
def test_line_is_read_as_written(tmp_path, content, expected):
    assert read(tmp_path, content) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "names no source"),
        (b"# only a comment\n\n", "names no source"),
        ("A\n".encode("utf-16"), "line 1: the file is UTF-16"),
        ("A\n".encode("utf-16-be"), "line 1: a NUL"),
        (b"A\nB\0C\n", "line 2: a NUL"),
        (b"A\nB\rC\n", "line 2: a carriage return"),
        (b"A\n\xff\n", "line 2, byte 1: not UTF-8"),
        (b"A\nab\xc3\x28\n", "line 2, byte 3: not UTF-8"),
        (b"A\n\n" + b"x" * (MAX_LINE_BYTES + 1) + b"\n", "line 3: longer than"),
        (b"x" * 10_000_000, "line 1: longer than"),
        (bytes(range(256)), "line 1"),
    ],
)
def test_unusable_file_is_refused_with_its_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, content)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="not a regular file"):
            read_requests(path)


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "sources.txt").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # sparse
    with pytest.raises(InputError, match=f"{MAX_FILE_BYTES + 1} bytes, more than {MAX_FILE_BYTES}"):
        read_requests(tmp_path / "sources.txt")


def test_too_many_lines_are_refused_before_anything_is_made_of_them(tmp_path):
    (tmp_path / "sources.txt").write_bytes(b"\n" * (MAX_LINES + 1))
    with pytest.raises(InputError, match=f"{MAX_LINES + 1} lines, more than {MAX_LINES}"):
        read_requests(tmp_path / "sources.txt")


@given(st.lists(LINE, min_size=1))
def test_lines_of_a_file_are_those_parsed_alone(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("requests") / "sources.txt"
    path.write_bytes("\n".join(texts).encode())
    wanted = [
        parse_request(text, line)
        for line, text in enumerate(texts, start=1)
        if text.strip() and not text.strip().startswith("#")
    ]
    if wanted:
        assert list(read_requests(path)) == wanted


@given(st.binary(max_size=200))
def test_any_bytes_give_requests_or_one_input_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("requests") / "sources.txt"
    path.write_bytes(content)
    try:
        requests = read_requests(path)
    except InputError:
        return
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    wanted = [
        number
        for number, line in enumerate(lines, start=1)
        if line.decode().strip() and not line.decode().strip().startswith("#")
    ]
    assert [request.line for request in requests] == wanted
    assert all(request.text == lines[request.line - 1].decode().strip() for request in requests)


@given(st.lists(st.text(st.characters(exclude_characters="\n\r\0", codec="utf-8")), min_size=1))
def test_every_line_of_text_is_accounted_for(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("requests") / "sources.txt"
    path.write_bytes("\n".join(["first", *lines]).encode())
    named = [line.strip() for line in lines if line.strip() and line.strip()[0] != "#"]
    assert [request.text for request in read_requests(path)] == ["first", *named]


@given(st.text())
def test_prefix_and_name_make_up_the_text(text):
    request = parse_request(text, 1)
    if request.means is Means.ANY:
        assert request.name == request.text == text.strip()
    else:
        assert request.text.startswith(f"{request.means}:")
        assert request.text.endswith(request.name)
