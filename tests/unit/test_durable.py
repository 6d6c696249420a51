"""Files appear whole or not at all; manifests cannot point outside; JSON is read strictly."""

import fcntl
import json
import os
from dataclasses import replace

import pytest

from nulls_dist import durable
from nulls_dist.errors import InputError, IntegrityError, LockedError


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def fail(*args, **kwargs):
    raise OSError("the disk is full")


def test_a_written_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    for content in (b"old", b"new \x00"):
        durable.write_bytes(path, content)
        assert path.read_bytes() == content
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_content_and_no_partial_file(tmp_path, monkeypatch, broken):
    path = tmp_path / "file"
    durable.write_text(path, "old")
    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="the disk is full"):
        durable.write_text(path, "new")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["file"]


def test_the_content_is_synced_before_the_name_points_to_it(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1]
        )
    durable.write_text(tmp_path / "file", "text")
    assert calls == ["fsync", "replace", "fsync"]


def test_equal_content_gives_equal_json_bytes(tmp_path):
    durable.write_json(tmp_path / "first", {"b": [1, 2.5], "a": "\u00e9"})
    durable.write_json(tmp_path / "second", {"a": "\u00e9", "b": [1, 2.5]})
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert durable.read_json(tmp_path / "first") == {"a": "\u00e9", "b": [1, 2.5]}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_without_a_number_for_it_is_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        durable.write_json(tmp_path / "file", {"loss": value})
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "b": 2, "a": 3}', r"duplicate keys \['a'\]"),
        ('{"x": {"a": 1, "a": 1}}', r"duplicate keys \['a'\]"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ("[-Infinity]", "-Infinity is not a JSON number"),
        ("[1e999]", "1e999 is not a JSON number"),
        ("[" * 100_000, "not readable as JSON"),
        ('{"a": ' * 100_000, "not readable as JSON"),
        ("[" + "9" * 5_000 + "]", "not readable as JSON"),
        ("", "not readable as JSON"),
        ('{"a": 1', "not readable as JSON"),
        ("{} {}", "not readable as JSON"),
        (b'"\xff"', "not readable as JSON"),
    ],
)
def test_json_that_is_ambiguous_or_hostile_is_refused_by_file(tmp_path, text, reason):
    path = tmp_path / "manifest.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(IntegrityError, match=reason) as caught:
        durable.read_json(path)
    assert str(path) in str(caught.value)


def test_a_missing_json_file_is_named(tmp_path):
    with pytest.raises(IntegrityError, match=r"gone\.json: file is missing"):
        durable.read_json(tmp_path / "gone.json")


def test_a_directory_is_published_whole(tmp_path):
    final = tmp_path / "deep" / "final"
    with durable.new_directory(final) as partial:
        (partial / "sub").mkdir()
        (partial / "sub" / "file").write_text("x")
        assert not final.exists()
    assert (final / "sub" / "file").read_text() == "x"
    assert names_in(final.parent) == ["final"]


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt("stop")])
def test_an_error_publishes_nothing(tmp_path, error):
    def build():
        with durable.new_directory(tmp_path / "final") as partial:
            (partial / "file").write_text("half")
            raise error

    with pytest.raises(type(error), match="stop"):
        build()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("broken", ["fsync", "rename"])
def test_a_failure_while_publishing_publishes_nothing(tmp_path, monkeypatch, broken):
    def build():
        with durable.new_directory(tmp_path / "final") as partial:
            (partial / "file").write_text("whole")
            monkeypatch.setattr(os, broken, fail)

    with pytest.raises(OSError, match="the disk is full"):
        build()
    assert names_in(tmp_path) == []


def test_the_remains_of_a_killed_writer_are_not_published(tmp_path):
    stale = durable.partial_directory(tmp_path / "final")
    stale.mkdir()
    (stale / "stale").write_text("half")
    with durable.new_directory(tmp_path / "final") as partial:
        (partial / "file").write_text("whole")
    assert names_in(tmp_path / "final") == ["file"]


def test_a_directory_is_never_overwritten(tmp_path):
    final = tmp_path / "final"
    final.mkdir()
    (final / "precious").write_text("x")
    with (
        pytest.raises(InputError, match=r"final exists already and is never overwritten"),
        durable.new_directory(final),
    ):
        pytest.fail("the block must not run")
    assert (final / "precious").read_text() == "x"


def test_a_directory_that_appeared_meanwhile_is_never_overwritten(tmp_path):
    def build():
        with durable.new_directory(tmp_path / "final"):
            (tmp_path / "final").mkdir()
            (tmp_path / "final" / "precious").write_text("x")

    with pytest.raises(InputError, match="never overwritten"):
        build()
    assert names_in(tmp_path) == ["final"]
    assert names_in(tmp_path / "final") == ["precious"]


def test_a_writer_that_waited_for_the_lock_sees_what_was_published(tmp_path, monkeypatch):
    lock = fcntl.flock

    def publish_first(*arguments):
        (tmp_path / "final").mkdir()
        lock(*arguments)

    monkeypatch.setattr(fcntl, "flock", publish_first)
    with (
        pytest.raises(InputError, match="never overwritten"),
        durable.new_directory(tmp_path / "final"),
    ):
        pytest.fail("the block must not run")
    assert names_in(tmp_path) == ["final"]


def test_a_second_writer_is_locked_out_and_harms_nothing(tmp_path):
    with durable.new_directory(tmp_path / "final") as partial:
        (partial / "file").write_text("x")
        with (
            pytest.raises(LockedError, match=r"another process is writing .*final"),
            durable.new_directory(tmp_path / "final"),
        ):
            pytest.fail("the block must not run")
    assert names_in(tmp_path / "final") == ["file"]


def test_a_file_system_without_locks_warns_and_works(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(fcntl, "flock", fail)
    with durable.new_directory(tmp_path / "final"):
        (tmp_path / ".final.lock").unlink()  # as a second writer there would
    assert "run only one writer" in caplog.text
    assert names_in(tmp_path) == ["final"]


class Killed(BaseException):
    """Stands for a kill."""


def begin(final, plan, error=Killed):
    def write():
        with durable.resumable_directory(final, plan) as partial:
            (partial / "half").write_text("done")
            (partial / ".half.0123.tmp").write_text("being written")
            raise error

    with pytest.raises(error):
        write()


@pytest.mark.parametrize("error", [Killed, KeyboardInterrupt, OSError])
def test_what_a_killed_process_left_is_continued_and_published(tmp_path, error):
    final = tmp_path / "final"
    begin(final, {"seed": 1}, error)
    assert names_in(tmp_path) == [".final.partial"]
    with durable.resumable_directory(final, {"seed": 1}) as partial:
        assert (partial / "half").read_text() == "done"
    assert names_in(final) == ["half"]
    assert names_in(tmp_path) == ["final"]


def test_what_was_begun_otherwise_is_refused_and_stays(tmp_path):
    final = tmp_path / "final"
    begin(final, {"seed": 1, "size": 5})
    with (
        pytest.raises(InputError, match=r"\.final\.partial is unfinished.*seed was 1, now 2;"),
        durable.resumable_directory(final, {"seed": 2, "size": 5}),
    ):
        pass
    assert "half" in names_in(tmp_path / ".final.partial")


def test_an_error_of_the_user_leaves_nothing_to_continue(tmp_path):
    begin(tmp_path / "final", {}, InputError)
    assert names_in(tmp_path) == []


def test_what_has_no_plan_is_begun_anew(tmp_path):
    final = tmp_path / "final"
    begin(final, {})
    (tmp_path / ".final.partial" / durable.BEGUN_FILE).unlink()
    with durable.resumable_directory(final, {}) as partial:
        assert names_in(partial) == [durable.BEGUN_FILE]


def test_a_second_process_does_not_continue_what_is_worked_on(tmp_path):
    final = tmp_path / "final"
    with (
        durable.resumable_directory(final, {}),
        pytest.raises(LockedError),
        durable.resumable_directory(final, {}),
    ):
        pass


def test_a_linked_file_shares_its_bytes_and_is_copied_where_it_cannot(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_text("x")
    durable.link_or_copy(source, tmp_path / "sub" / "link")
    assert (tmp_path / "sub" / "link").samefile(source)
    monkeypatch.setattr(os, "link", fail)
    durable.link_or_copy(source, tmp_path / "sub" / "copy")
    assert not (tmp_path / "sub" / "copy").samefile(source)
    assert (tmp_path / "sub" / "copy").read_text() == "x"


@pytest.fixture
def recorded(tmp_path):
    """A directory with one file, and the file's record."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_bytes(b"content")
    return root, durable.record_file(root, "sub/file", num_rows=2, num_tokens=3)


def test_a_record_states_size_and_checksum(recorded):
    root, record = recorded
    assert (record.path, record.num_bytes, record.num_rows, record.num_tokens) == (
        *("sub/file", 7, 2, 3),
    )
    # sha256sum of "content"
    assert record.sha256 == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert durable.check_file(root, record) == root / "sub" / "file"


@pytest.mark.parametrize(
    "path", ["../outside", "sub/../../outside", "/etc/hostname", "", ".", "sub/\0file"]
)
def test_a_record_cannot_point_outside_its_directory(recorded, path):
    root, record = recorded
    (root.parent / "outside").write_bytes(b"content")
    with pytest.raises(IntegrityError, match="outside its directory"):
        durable.check_file(root, replace(record, path=path))


@pytest.mark.parametrize("where", ["file", "sub"])
def test_a_symbolic_link_is_refused_even_to_the_right_content(recorded, where):
    root, record = recorded
    real = root / "sub" if where == "sub" else root / "sub" / "file"
    moved = root.parent / "moved"
    real.rename(moved)
    real.symlink_to(moved)
    with pytest.raises(IntegrityError, match="a link"):
        durable.check_file(root, record)


def test_a_directory_reached_through_a_link_can_be_checked(recorded):
    root, record = recorded
    alias = root.parent / "alias"
    alias.symlink_to(root)
    assert durable.check_file(alias, record).read_bytes() == b"content"


def test_truncation_is_found_without_reading_and_a_flipped_bit_by_the_checksum(recorded):
    root, record = recorded
    (root / "sub" / "file").write_bytes(b"contenu")
    assert durable.find_file(root, record).name == "file"
    with pytest.raises(IntegrityError, match=r"sub/file: contents differ from the checksum"):
        durable.check_file(root, record)
    (root / "sub" / "file").write_bytes(b"conte")
    with pytest.raises(IntegrityError, match=r"sub/file: 5 bytes, but the manifest says 7"):
        durable.find_file(root, record)


@pytest.mark.parametrize("path", ["sub/gone", "sub"])
def test_a_missing_file_or_a_directory_in_its_place_is_named(recorded, path):
    root, record = recorded
    with pytest.raises(IntegrityError, match=f"{path}: file is missing"):
        durable.find_file(root, replace(record, path=path))


def test_records_survive_json(recorded, tmp_path):
    _, record = recorded
    content = {name: getattr(record, name) for name in record.__slots__}
    assert durable.FileRecord(**json.loads(json.dumps(content))) == record
