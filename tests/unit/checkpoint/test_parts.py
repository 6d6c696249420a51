"""Notes of the ranks that write one checkpoint together."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nulls_dist.checkpoint.parts import collect_parts, open_partial, write_part
from nulls_dist.checkpoint.store import TensorFile
from nulls_dist.durable import record_file
from nulls_dist.errors import IntegrityError


def files_of(rank: int, num_values: int = 5) -> dict[str, dict[str, torch.Tensor]]:
    values = {"values": torch.full((num_values,), float(rank))}
    return {f"weights/of-{rank}.safetensors": values, f"optimizer/of-{rank}.safetensors": values}


def never() -> bool:
    return False


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return open_partial(tmp_path / "step-00000001")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_rank_0_hears_of_all_files_and_no_note_is_left(partial: Path) -> None:
    for rank in (1, 0):
        write_part(partial, rank, files_of(rank))
    records = collect_parts(partial, 2, is_late=never)
    names = [name for rank in (0, 1) for name in sorted(files_of(rank))]
    assert records == [record_file(partial, name) for name in names]
    found = {path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file()}
    assert found == set(names)


def test_rank_0_waits_until_the_last_note_is_there(partial: Path) -> None:
    write_part(partial, 0, files_of(0))
    asked: list[bool] = []

    def is_late() -> bool:
        asked.append(False)
        if len(asked) == 3:
            write_part(partial, 1, files_of(1))
        return False

    assert len(collect_parts(partial, 2, is_late=is_late)) == 4
    assert len(asked) == 3


def test_a_rank_without_a_note_is_named_when_time_is_up(partial: Path) -> None:
    write_part(partial, 0, files_of(0))
    write_part(partial, 2, files_of(2))
    with pytest.raises(OSError, match=r"rank 1 \(and 1 more\) left no note .* all nodes share"):
        collect_parts(partial, 4, is_late=lambda: True)


def test_a_damaged_note_is_refused(partial: Path) -> None:
    write_part(partial, 0, files_of(0))
    (note,) = (partial / ".notes").iterdir()
    note.write_text(note.read_text()[:-20])
    with pytest.raises(IntegrityError, match=note.name):
        collect_parts(partial, 1, is_late=never)


def test_a_rank_that_cannot_write_says_why_and_takes_its_files_away(partial: Path) -> None:
    (partial / "optimizer").write_text("not a directory")
    for rank in (0, 1):
        with pytest.raises(OSError, match="optimizer"):
            write_part(partial, rank, files_of(rank))
    with pytest.raises(OSError, match=r"rank 0: .*optimizer"):
        collect_parts(partial, 2, is_late=never)
    assert list(partial.rglob("*.safetensors")) == []


def test_a_full_disk_has_room_for_the_note_that_it_is_full(small_disk: Path) -> None:
    partial = open_partial(small_disk / "step-00000001")
    write_part(partial, 0, files_of(0, num_values=1000))
    with pytest.raises(OSError, match="No space left on device"):
        write_part(partial, 1, files_of(1, num_values=12_000))
    with pytest.raises(OSError, match=r"rank 1: .*No space left on device"):
        collect_parts(partial, 2, is_late=never)


def test_an_older_attempt_is_forgotten(tmp_path: Path) -> None:
    final = tmp_path / "step-00000001"
    write_part(open_partial(final), 1, files_of(1))
    partial = open_partial(final)
    assert [path.name for path in partial.rglob("*")] == [".notes"]


def test_files_are_those_of_a_plain_write(partial: Path) -> None:
    write_part(partial, 3, files_of(3))
    stored = TensorFile(partial / "weights" / "of-3.safetensors")
    assert torch.equal(stored.read("values"), torch.full((5,), 3.0))
