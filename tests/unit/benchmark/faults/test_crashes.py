"""The crash checker finds what is wrong with publishers that are wrong, and only that."""

import os
import random

import pytest

from nulls_dist import durable
from nulls_dist.benchmark.faults.crashes import kills, power_losses, read_after
from nulls_dist.benchmark.faults.disk import (
    Acknowledged,
    Disk,
    Flushed,
    Node,
    Renamed,
    Written,
    lose_power,
    unflushed,
)
from nulls_dist.benchmark.faults.outcome import Fault
from nulls_dist.benchmark.faults.recorder import Recorder

OLD, NEW = "old\n" * 400, "new contents\n" * 400
POWER_LOSSES = 120


def rename_before_writing(path):
    path.with_name("temporary").touch()
    path.with_name("temporary").rename(path)
    path.write_text(NEW)
    durable.sync_path(path)
    durable.sync_path(path.parent)


def overwrite_in_place(path):
    path.write_text(NEW[:1000])
    durable.sync_path(path)
    path.write_text(NEW)
    durable.sync_path(path)


def publish(path, *, flush_file=True, flush_folder=True):
    temporary = path.with_name("temporary")
    temporary.write_text(NEW)
    if flush_file:
        durable.sync_path(temporary)
    temporary.replace(path)
    if flush_folder:
        durable.sync_path(path.parent)


def without_flushing_the_file(path):
    publish(path, flush_file=False)


def without_flushing_the_folder(path):
    publish(path, flush_folder=False)


def without_flushing_new_parents(path):
    (path.parent / "inner").mkdir()
    publish(path.parent / "inner" / "deep")
    publish(path, flush_folder=False)


def read(root, is_acknowledged):
    path = root / "file"
    allowed = [NEW] if is_acknowledged else [OLD, NEW]
    return [] if path.exists() and path.read_text() in allowed else ["neither old nor new"]


def crash(publisher, folder, reader=read):
    """Failures after kills, and after power losses."""
    tree = folder / "tree"
    tree.mkdir()
    (tree / "file").write_text(OLD)
    recorder = Recorder(tree)
    with recorder.recording():
        publisher(tree / "file")
    recorder.acknowledge()
    killed, lost = Fault(fault="kill", promise=""), Fault(fault="power", promise="")
    start, done = recorder.start, recorder.operations
    read_after(kills(start, done), reader, killed, folder / "after")
    losses = power_losses(start, done, count=POWER_LOSSES, seed=1)
    read_after(losses, reader, lost, folder / "after")
    assert killed.tries == len(done) + 1
    assert lost.tries == POWER_LOSSES
    return killed.failures, lost.failures


@pytest.mark.parametrize("publisher", [publish, lambda path: durable.write_text(path, NEW)])
def test_a_right_publisher_passes(publisher, tmp_path):
    assert crash(publisher, tmp_path) == ([], [])


@pytest.mark.parametrize("publisher", [rename_before_writing, overwrite_in_place])
def test_a_publisher_that_is_wrong_when_killed_is_found(publisher, tmp_path):
    killed, lost = crash(publisher, tmp_path)
    assert killed
    assert lost


@pytest.mark.parametrize("publisher", [without_flushing_the_file, without_flushing_the_folder])
def test_a_publisher_that_omits_a_flush_is_found_by_power_losses_only(publisher, tmp_path):
    killed, lost = crash(publisher, tmp_path)
    assert not killed
    assert lost


def test_a_folder_whose_own_name_was_not_flushed_is_lost_with_what_is_in_it(tmp_path):
    def read_deep(root, is_acknowledged):
        deep = root / "inner" / "deep"
        return ["lost"] if is_acknowledged and not deep.exists() else []

    killed, lost = crash(without_flushing_new_parents, tmp_path, read_deep)
    assert not killed
    assert lost

    def flushing(path):
        durable.make_directory(path.parent / "inner" / "most")
        publish(path.parent / "inner" / "most" / "deep")

    def read_deepest(root, is_acknowledged):
        deep = root / "inner" / "most" / "deep"
        return ["lost"] if is_acknowledged and not deep.exists() else []

    (tmp_path / "second").mkdir()
    assert crash(flushing, tmp_path / "second", read_deepest) == ([], [])


def test_the_recorder_sees_what_was_done_in_order_and_leaves_os_as_it_was(tmp_path):
    before = os.fsync, os.replace, os.mkdir
    recorder = Recorder(tmp_path)
    with recorder.recording():
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "a").write_text("one")
        durable.sync_path(tmp_path / "folder" / "a")
        (tmp_path / "folder" / "a").rename(tmp_path / "folder" / "b")
        os.link(tmp_path / "folder" / "b", tmp_path / "folder" / "c")
        (tmp_path / "folder" / "b").unlink()
    assert (os.fsync, os.replace, os.mkdir) == before
    root = recorder.start.root
    folder, file = (Node(number=number, is_folder=number == 2) for number in (2, 3))
    assert recorder.operations == [
        Renamed(folder=root, added=(("folder", folder),)),
        Renamed(folder=folder, added=(("a", file),)),
        Written(file=file, before=b"", after=b"one"),
        Flushed(node=file),
        Renamed(folder=folder, removed=("a",), added=(("b", file),)),
        Renamed(folder=folder, added=(("c", file),)),
        Renamed(folder=folder, removed=("b",)),
    ]
    recorder.start.apply(recorder.operations).write_to(tmp_path / "again")
    assert [path.name for path in (tmp_path / "again" / "folder").iterdir()] == ["c"]
    assert (tmp_path / "again" / "folder" / "c").read_text() == "one"


ROOT, FILE = Node(number=1, is_folder=True), Node(number=2, is_folder=False)
ADDED = Renamed(folder=ROOT, added=(("file", FILE),))
WRITTEN = Written(file=FILE, before=b"", after=b"new" * 1000)


def test_what_was_flushed_is_never_lost_and_what_follows_may_be():
    done = [ADDED, WRITTEN, Flushed(node=FILE)]
    assert unflushed(done) == [0]
    done += [Flushed(node=ROOT), WRITTEN, Acknowledged()]
    assert unflushed(done) == [4]
    draws = random.Random(0)
    empty = Disk(files={}, folders={ROOT: {}}, root=ROOT)
    contents = set()
    for _ in range(100):
        left = empty.apply(lose_power(done, draws))
        assert left.folders[ROOT] == {"file": FILE}
        contents.add(left.files[FILE])
    assert WRITTEN.after in contents
    assert len(contents) > 10  # torn in many ways
    assert all(len(content) <= len(WRITTEN.after) for content in contents)


def test_every_part_of_what_was_not_flushed_may_be_lost_by_itself():
    draws = random.Random(0)
    done = [ADDED, WRITTEN]
    kinds = {frozenset(type(operation) for operation in lose_power(done, draws)) for _ in range(50)}
    assert kinds == {
        frozenset(),
        frozenset({Renamed}),
        frozenset({Written}),
        frozenset({Renamed, Written}),
    }
