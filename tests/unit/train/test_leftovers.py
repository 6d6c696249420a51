"""What a killed life left half-written goes; what is whole, or somebody else's, stays."""

import logging

from nulls_dist import durable
from nulls_dist.checkpoint.store import step_directory
from nulls_dist.train.leftovers import drop_leftovers


def test_unfinished_checkpoints_and_temporary_files_go_and_all_else_stays(tmp_path, caplog):
    whole = step_directory(tmp_path, 5)
    (whole / "weights").mkdir(parents=True)
    (whole / "manifest.json").write_text("{}")
    partial = durable.partial_directory(step_directory(tmp_path, 6))
    (partial / ".notes").mkdir(parents=True)
    (tmp_path / "log").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "checkpoints" / ".step-00000007.partial").symlink_to(elsewhere)
    (tmp_path / "checkpoints" / ".step-00000005-stripped.partial").mkdir()
    (tmp_path / ".folder.tmp").mkdir()
    stays = [".lock", "lives.jsonl", "STOP", "notes.tmp", "log/bad_steps.jsonl", ".mine"]
    goes = [".lives.jsonl.0123.tmp", ".metrics.prom.tmp", "log/.x.0123.tmp"]
    for name in stays + goes:
        (tmp_path / name).write_text("x")
    with caplog.at_level(logging.INFO, logger="nulls_dist"):
        drop_leftovers(tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        ".step-00000005-stripped.partial",
        ".step-00000007.partial",
        "step-00000005",
    ]
    assert (whole / "manifest.json").exists()
    assert elsewhere.exists()
    assert (tmp_path / ".folder.tmp").exists()
    assert all((tmp_path / name).exists() for name in stays)
    assert not any((tmp_path / name).exists() for name in goes)
    assert ".step-00000006.partial" in caplog.text


def test_the_name_of_a_file_that_is_being_written_is_one_that_is_removed(tmp_path):
    with durable.replaced_file(tmp_path / "lives.jsonl") as temporary:
        temporary.write_text("half")
        drop_leftovers(tmp_path)
        assert not temporary.exists()
        temporary.write_text("whole")


def test_a_new_run_has_none(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="nulls_dist"):
        drop_leftovers(tmp_path)
    assert not caplog.text
