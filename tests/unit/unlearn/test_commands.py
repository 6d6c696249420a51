"""The command lines: exit codes, streams, locks, and no half-written output."""

import json
import os
import signal
import time

import pytest

from nulls_dist import durable
from nulls_dist.checkpoint.format import Grade
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.cli import run_command
from nulls_dist.data.format import CorpusManifest, TokenizerRecord
from nulls_dist.errors import InputError, IntegrityError, LockedError
from nulls_dist.unlearn import collateral, strip
from nulls_dist.unlearn.plan import open_sources, plan_deletion
from tests.checkpoint_factory import build_checkpoint, key_id
from tests.deletions import write_stripped
from tools import lookup_source, strip_sources, verify_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("run") / "step-00000100")


@pytest.fixture
def request_file(tmp_path):
    def write(text):
        path = tmp_path / "sources.txt"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def strip_tool(*arguments):
    return run_command(strip_sources.main, [str(argument) for argument in arguments])


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def test_report_on_stdout_says_what_was_done(checkpoint, request_file, tmp_path, capsys):
    sources = request_file("# mine\nTitle 03\nkey:k-3\nnobody\n")
    out = tmp_path / "out"
    options = ["--out", out, "--max-collateral", 1, "--allow-unknown"]
    assert strip_tool(checkpoint, sources, *options) == 0
    text = capsys.readouterr().out
    assert "1 matched, 1 unknown, 0 ambiguous, 1 duplicate" in text
    assert "EXCISED" in text
    assert "unknown     line 4: 'nobody'" in text
    assert "3 rewritten, 10 linked; 3072 values read back and verified" in text
    assert durable.sha256_file(out / "manifest.json") in text
    assert strip_tool(out, sources, "--out", tmp_path / "again", "--allow-unknown") == 0
    text = capsys.readouterr().out
    assert "0 to delete now, 1 in all" in text
    assert "already     Title 03" in text


def test_json_report_is_all_of_stdout_and_accounts_for_every_line(
    checkpoint, request_file, tmp_path, capsys
):
    sources = request_file("Title 03\nkey:k-3\n\nnobody\n")
    out = tmp_path / "out"
    options = ["--out", out, "--max-collateral", 1, "--allow-unknown", "--json"]
    assert strip_tool(checkpoint, sources, *options) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(line["line"], line["outcome"]) for line in report["lines"]] == [
        (1, "matched"),
        (2, "duplicate"),
        (4, "unknown"),
    ]
    assert report["lines"][0]["source_id"] == key_id("k-3")
    assert report["grade"] == "excised"
    assert report["num_deleted"] == report["num_tombstones"] == 1
    assert report["output"] == str(out)
    assert len(report["rewritten"]) == 3
    assert list(report["rows_per_expert"].values()) == [16]
    assert report["input_manifest_sha256"] == durable.sha256_file(checkpoint / "manifest.json")
    assert report["output_manifest_sha256"] == durable.sha256_file(out / "manifest.json")


def test_suppression_is_never_called_erasure(checkpoint, request_file, tmp_path, capsys):
    sources = request_file("Title 03\n")
    options = ["--mode", "suppress", "--out", tmp_path / "out", "--max-collateral", 0]
    assert strip_tool(checkpoint, sources, *options) == 0
    text = capsys.readouterr().out.lower()
    assert "suppressed" in text
    assert "weights are still in the files" in text
    assert "erase" not in text
    assert "erasure" not in text
    assert "removed" not in text


def test_output_lies_beside_the_checkpoint_by_default(request_file, tmp_path):
    root = build_checkpoint(tmp_path / "run" / "step-00000100")
    assert strip_tool(root, request_file("Title 03\n"), "--mode", "suppress") == 0
    assert contents(tmp_path / "run") == ["deletions", "step-00000100", "step-00000100-stripped"]


@pytest.mark.parametrize(
    ("text", "options", "code", "message"),
    [
        ("Title 03\n", [], 6, "--max-collateral"),
        ("Title 03\n", ["--max-collateral", "2"], 2, "between 0 and 1"),
        ("Title 03\n", ["--max-collateral", "nan"], 2, "between 0 and 1"),
        ("Title 03\n", ["--received", "31.1.2026"], 2, "a day like 2026-01-31"),
        ("Title 03\n", ["--received", "2999-01-01"], 2, "has not come yet"),
        ("Title 03\n", ["--request-id", "../up"], 2, "letters, digits"),
        ("Title 03\n", ["--max-collateral", "1", "--questions", "none"], 3, "none is not a file"),
        ("Title 03\nTitle 99\n", ["--max-collateral", "1"], 4, "line 2: 'Title 99' is unknown"),
        ("\n", [], 3, "names no source"),
    ],
)
def test_refusal_has_its_exit_code_and_leaves_nothing(
    checkpoint, request_file, tmp_path, capsys, text, options, code, message
):
    sources = request_file(text)
    options = [*options, "--records", tmp_path / "records"]
    try:
        found = strip_tool(checkpoint, sources, "--out", tmp_path / "out", "--json", *options)
    except SystemExit as exit_of_parser:
        found = exit_of_parser.code
    assert found == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert contents(tmp_path) == ["sources.txt"]


def test_a_deletion_that_leaves_no_source_is_refused(checkpoint, request_file, tmp_path, capsys):
    sources = request_file("".join(f"Title {number:02d}\n" for number in range(40)))
    options = ["--out", tmp_path / "out", "--records", tmp_path / "records"]
    assert strip_tool(checkpoint, sources, *options) == 6
    assert "would leave no source" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert strip_tool(checkpoint, sources, *options, "--max-collateral", 1) == 0


def test_suppressing_what_is_excised_is_reported_as_excised(
    checkpoint, request_file, tmp_path, capsys
):
    sources = request_file("Title 03\n")
    options = ["--records", tmp_path / "records", "--max-collateral", 1]
    assert strip_tool(checkpoint, sources, "--out", tmp_path / "once", *options) == 0
    again = ["--out", tmp_path / "twice", "--mode", "suppress", "--json", *options]
    capsys.readouterr()
    assert strip_tool(tmp_path / "once", sources, *again) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["num_deleted"], report["grade"]) == (0, "excised")
    assert report["surfaces"][0]["verdict"] == "EXCISED"
    assert "values that the sources shaped" not in " ".join(report["risks"])


def test_the_plan_is_printed_before_a_refusal(checkpoint, request_file, tmp_path, capsys):
    sources = request_file("Title 03\n")
    assert strip_tool(checkpoint, sources, "--out", tmp_path / "out") == 6
    assert "sources     1 to delete now, 1 in all" in capsys.readouterr().out


def test_what_is_no_checkpoint_is_bad_input(request_file, tmp_path, capsys):
    assert strip_tool(tmp_path, request_file("Title 03\n")) == 3
    assert "is not a checkpoint" in capsys.readouterr().err


def test_dry_run_reports_foretells_the_exit_code_and_writes_nothing(
    checkpoint, request_file, tmp_path, capsys
):
    sources = request_file("Title 03\n")
    options = ["--out", tmp_path / "out", "--dry-run", "--json"]
    assert strip_tool(checkpoint, sources, *options) == 6
    report = json.loads(capsys.readouterr().out)
    assert report["output"] is None
    assert report["collateral"]["mean"] > 0.05
    assert [entry["title"][:5] for entry in report["collateral"]["worst"]] == ["Title"] * 10
    assert strip_tool(checkpoint, sources, *options, "--max-collateral", 1) == 0
    assert contents(tmp_path) == ["sources.txt"]


def test_report_says_on_how_many_survivors_the_collateral_was_measured(
    checkpoint, request_file, tmp_path, capsys, monkeypatch
):
    options = [checkpoint, request_file("Title 03\n"), "--dry-run", "--max-collateral", 1]
    assert strip_tool(*options) == 0
    assert "of the sinks of 39 surviving sources" in capsys.readouterr().out
    monkeypatch.setattr(collateral, "MAX_EXACT", 30)
    assert strip_tool(*options) == 0
    text = capsys.readouterr().out
    assert "of the sinks of a survivor, measured on 30 of 39 survivors" in text
    assert "surviving sources" not in text
    assert strip_tool(*options, "--json") == 0
    found = json.loads(capsys.readouterr().out)["collateral"]
    assert (found["num_measured"], found["num_survivors"]) == (30, 39)
    assert strip_tool(*options, "--json", "--exact-collateral") == 0
    assert json.loads(capsys.readouterr().out)["collateral"]["num_measured"] == 39


def test_second_writer_of_an_output_is_locked_out(checkpoint, request_file, tmp_path, capsys):
    sources = request_file("Title 03\n")
    options = ["--mode", "suppress", "--out", tmp_path / "out"]
    with durable.new_directory(tmp_path / "out") as partial:
        assert strip_tool(checkpoint, sources, *options) == 7
        assert "another process is writing" in capsys.readouterr().err
        assert partial.is_dir(), "the first writer keeps its work"
    assert contents(tmp_path) == ["out", "sources.txt"]
    assert contents(tmp_path / "out") == []


def write_in_child(write):
    """Run `write` in a forked process that ends with the exit code of its error."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        write()
        code = 0
    except (LockedError, InputError) as error:
        code = error.exit_code
    finally:
        os._exit(code)


def test_of_two_strips_at_once_one_wins_and_the_other_is_refused(checkpoint, tmp_path):
    source = Checkpoint(checkpoint)
    plan = plan_deletion(source, open_sources(source), [key_id("k-3")], Grade.EXCISED)
    for race in range(5):
        out = tmp_path / f"out-{race}"
        start = time.monotonic() + 0.02

        def write(out=out, start=start):
            while time.monotonic() < start:
                pass
            write_stripped(source, plan, out)

        children = [write_in_child(write) for _ in range(2)]
        codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
        # The loser meets the lock, or, if it came late, the finished output.
        assert codes in ([0, 7], [0, 3])
        assert len(list(Checkpoint(out).verify())) == 13
    assert contents(tmp_path) == [f"out-{race}" for race in range(5)]


@pytest.mark.parametrize("moment", ["excise_file", "check_copy", "record_file", "write_json"])
def test_kill_during_a_strip_leaves_the_input_and_no_output(tmp_path, monkeypatch, moment):
    root = build_checkpoint(tmp_path / "checkpoint")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    source = Checkpoint(root)
    plan = plan_deletion(source, open_sources(source), [key_id("k-3")], Grade.EXCISED)
    original = getattr(strip, moment)

    def die(*arguments):
        original(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(strip, moment, die)
    child = write_in_child(lambda: write_stripped(source, plan, tmp_path / "out"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    monkeypatch.undo()
    write_stripped(source, plan, tmp_path / "out")
    assert contents(tmp_path) == ["checkpoint", "out"]
    assert len(list(Checkpoint(tmp_path / "out").verify())) == 13


def test_output_that_does_not_verify_is_not_published(checkpoint, tmp_path, monkeypatch):
    source = Checkpoint(checkpoint)
    plan = plan_deletion(source, open_sources(source), [key_id("k-3")], Grade.EXCISED)
    honest = strip.excise_file

    def forgetful(before, target, excision):
        honest(before, target, excision)
        target.write_bytes(before.path.read_bytes())

    def clumsy(before, target, excision):
        honest(before, target, excision)
        damaged = bytearray(target.read_bytes())
        damaged[-1] ^= 0x80
        target.write_bytes(damaged)

    for faulty in (forgetful, clumsy):
        monkeypatch.setattr(strip, "excise_file", faulty)
        with pytest.raises(IntegrityError, match="excised rows"):
            write_stripped(source, plan, tmp_path / "out")
        assert contents(tmp_path) == []


def test_verify_tool_counts_what_it_proved(checkpoint, request_file, tmp_path, capsys):
    out = tmp_path / "out"
    assert strip_tool(checkpoint, request_file("k-3"), "--out", out, "--max-collateral", 1) == 0
    capsys.readouterr()
    assert run_command(verify_checkpoint.main, [str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["num_files"] == 13
    assert report["num_deleted_sources"] == report["num_excisions_verified"] == 1
    assert report["num_excised_values_verified"] == 3072
    # embedding, 2 layers of (2 norms, qkv, proj, fc1, fc2), last norm, 2 experts of sinks
    layer = 2 * 16 + (8 * 6) * 16 + 16 * 24 + 48 * 16 + 16 * 24
    assert report["num_parameters"] == 30 * 16 + 2 * layer + 16 + 2 * 2 * 3 * 32 * 16


def test_lookup_tool_tells_place_and_state(checkpoint, request_file, tmp_path, capsys):
    out = tmp_path / "out"
    sources = request_file("k-3")
    assert strip_tool(checkpoint, sources, "--out", out, "--mode", "suppress") == 0
    capsys.readouterr()
    assert run_command(lookup_source.main, [str(out), "title_03", "key:k-4", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["source_id"], first["title"], first["state"]) == (
        key_id("k-3"),
        "Title 03",
        "suppressed",
    )
    assert first["expert"] == first["bucket"] % 2
    assert (second["source_key"], second["state"]) == ("k-4", "live")
    assert run_command(lookup_source.main, [str(out), "Title 03", "nobody"]) == 4
    captured = capsys.readouterr()
    assert "  source_key  k-3" in captured.out
    assert "nobody" in captured.err
    assert run_command(lookup_source.main, [str(out), ""]) == 4


def test_lookup_tool_reads_a_corpus_too(checkpoint, tmp_path, capsys):
    (tmp_path / "sources.parquet").write_bytes((checkpoint / "sources.parquet").read_bytes())
    manifest = CorpusManifest(
        corpus="testwiki",
        router_seed=7,
        tokenizer=TokenizerRecord(kind="hf", file="t", sha256="", vocab_size=1, eos_id=0),
        token_type="uint16",
        num_partitions=1,
        num_sources=40,
        num_documents=40,
        num_tokens=400,
        files=(durable.record_file(tmp_path, "sources.parquet"),),
        cleaner="none",
    )
    durable.write_json(tmp_path / "manifest.json", manifest.to_dict())
    assert run_command(lookup_source.main, [str(tmp_path), "k-3", "--json"]) == 0
    (place,) = json.loads(capsys.readouterr().out)
    assert (place["title"], place["state"], place["expert"]) == ("Title 03", "live", None)
    (tmp_path / "sources.parquet").write_bytes(b"")
    assert run_command(lookup_source.main, [str(tmp_path), "k-3"]) == 5
