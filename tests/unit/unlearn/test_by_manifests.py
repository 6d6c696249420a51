"""Manifests delete what a list of the same sources deletes; false ones delete nothing."""

import filecmp
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nulls_dist.cli import run_command
from nulls_dist.durable import sha256_file
from nulls_dist.unlearn.records import read_signed_report
from tests.checkpoint_factory import (
    build_checkpoint,
    edit_manifest,
    key_id,
    numbered_rows,
    tiny_model,
)
from tests.manifest_damage import FALSE_OF_THE_SAME, FIRST, REFUSED, SECOND, SOURCE, put
from tools import build_manifests, strip_sources


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A checkpoint, a later one of the run, manifests of two sources, and their deletion."""
    home = tmp_path_factory.mktemp("home")
    build_checkpoint(home / "first", step=100)
    build_checkpoint(home / "later", step=150)
    (home / "sources.txt").write_text("Title 03\nk-5\n")
    assert run(build_manifests, home / "first", home / "sources.txt", "--out", home / "m") == 0
    for name in ("first", "later"):
        assert strip(home / name, home / f"{name}-out", home / "sources.txt") == 0
    return home


@pytest.fixture
def manifests(home, tmp_path):
    return shutil.copytree(home / "m", tmp_path / "manifests")


def run(tool, *arguments):
    return run_command(tool.main, list(map(str, arguments)))


def strip(root, out, *named):
    records = out.with_name("records")
    options = ["--out", out, "--records", records, "--max-collateral", 1]
    return run(strip_sources, root, *named, *options)


def files_of(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def is_same(one, two):
    names = files_of(one)
    same = filecmp.cmpfiles(one, two, names, shallow=False)[0]
    return names == files_of(two) and same == names


@pytest.mark.parametrize("name", ["first", "later"])
def test_manifests_delete_exactly_what_a_list_deletes(home, manifests, tmp_path, name):
    assert strip(home / name, tmp_path / "out", "--manifest", manifests) == 0
    assert is_same(tmp_path / "out", home / f"{name}-out")


def test_manifests_may_come_back_after_an_earlier_deletion(home, manifests, tmp_path, capsys):
    assert strip(home / "first-out", tmp_path / "out", "--manifest", manifests) == 0
    assert is_same(tmp_path / "out", home / "first-out")
    assert "already     Title 03" in capsys.readouterr().out


def test_manifests_of_private_sources_delete_their_blocks(tmp_path):
    (tmp_path / "sources.txt").write_text("k-3\n")
    root, model = tmp_path / "checkpoint", tiny_model(num_sinks=64)
    build_checkpoint(root, model=model, private_sources=[key_id("k-3")])
    assert run(build_manifests, root, tmp_path / "sources.txt", "--out", tmp_path / "m") == 0
    assert strip(root, tmp_path / "one", "--manifest", tmp_path / "m") == 0
    assert strip(root, tmp_path / "two", tmp_path / "sources.txt") == 0
    assert is_same(tmp_path / "one", tmp_path / "two")
    hashes = json.loads((tmp_path / "m/run.json").read_text())
    other = build_checkpoint(tmp_path / "other", model=model, private_sources=[key_id("k-5")])
    assert strip(other, tmp_path / "three", "--manifest", tmp_path / "m") == 5
    del hashes["private_sources_sha256"]
    (tmp_path / "m/run.json").write_text(json.dumps(hashes))
    assert strip(root, tmp_path / "three", "--manifest", tmp_path / "m") == 5
    assert not (tmp_path / "three").exists()


def test_the_signed_report_says_that_manifests_asked(home, manifests, tmp_path):
    assert strip(home / "later", tmp_path / "out", "--manifest", manifests) == 0
    report, _ = read_signed_report(tmp_path / "records/0000/report.json")
    described = sha256_file(home / "first/manifest.json")
    assert report["manifests"] == {
        "directory": str(manifests),
        "run_manifest_sha256": sha256_file(manifests / "run.json"),
        "checkpoint_manifest_sha256": described,
        "step": 100,
    }
    assert [(line["text"], line["detail"]) for line in report["lines"]] == [
        (name, f"sha256 {sha256_file(manifests / name)}")
        for name in (f"sources/{FIRST}.json", f"sources/{SECOND}.json")
    ]
    page = (tmp_path / "records/0000/report.html").read_text()
    assert "By manifests of the sources" in page
    assert described in page
    listed, _ = read_signed_report(home / "records/0000/report.json")
    assert listed["manifests"] is None


def test_a_source_that_the_checkpoint_lacks_is_unknown(home, manifests, tmp_path, capsys):
    rows = [row for row in numbered_rows() if row["source_key"] != "k-3"]
    root = build_checkpoint(tmp_path / "checkpoint", rows=rows)
    assert strip(root, tmp_path / "out", "--manifest", manifests) == 4
    assert f"'sources/{key_id('k-3')}.json' is unknown" in capsys.readouterr().err
    assert strip(root, tmp_path / "out", "--manifest", manifests, "--allow-unknown") == 0
    (tmp_path / "sources.txt").write_text("k-5\n")
    assert strip(root, tmp_path / "by-list", tmp_path / "sources.txt") == 0
    assert is_same(tmp_path / "out", tmp_path / "by-list")


@pytest.mark.parametrize("named", [[], ["sources.txt", "--manifest", "m"]])
def test_sources_are_named_in_one_way(home, tmp_path, capsys, named):
    with pytest.raises(SystemExit) as caught:
        strip(home / "first", tmp_path / "out", *named)
    assert caught.value.code == 2
    assert "in one of two ways" in capsys.readouterr().err


def test_options_may_stand_before_the_list(home, tmp_path):
    options = ["--out", tmp_path / "out", "--max-collateral", 1, "--dry-run"]
    assert run(strip_sources, home / "first", *options, home / "sources.txt") == 0


def check_refused(root, manifests, code, capsys):
    """Fail unless a deletion is refused in one line, and nothing was written."""
    folder = manifests.parent
    before = {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}
    listed = sorted(os.listdir(folder))
    assert strip(root, folder / "out", "--manifest", manifests) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert str(manifests) in errors[0]
    assert len(errors[0]) < 700
    assert sorted(os.listdir(folder)) == listed
    assert {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]} == before


@pytest.mark.parametrize("checkpoint", ["first", "later"])
@pytest.mark.parametrize(("code", "name"), REFUSED)
def test_false_manifests_are_refused(home, manifests, capsys, checkpoint, code, name):
    REFUSED[code, name](manifests)
    check_refused(home / checkpoint, manifests, code, capsys)


@pytest.mark.parametrize("name", FALSE_OF_THE_SAME)
def test_manifests_of_this_checkpoint_must_fit_it_entirely(home, manifests, capsys, name):
    FALSE_OF_THE_SAME[name](manifests)
    check_refused(home / "first", manifests, 5, capsys)


@pytest.mark.parametrize("field", ["router", "bucket_table"])
def test_manifests_of_another_run_are_refused_with_both_values(
    home, manifests, tmp_path, capsys, field
):
    root = shutil.copytree(home / "first", tmp_path / "checkpoint")
    content = json.loads((root / "manifest.json").read_text())
    other = {"router": content["router"] | {"seed": 8}, "bucket_table": "AAAA" * 2730 + "AAA="}
    edit_manifest(root, **{field: other[field]})
    check_run = json.loads((manifests / "run.json").read_text())
    assert strip(root, tmp_path / "out", "--manifest", manifests) == 5
    message = capsys.readouterr().err
    assert check_run[f"{field}_sha256"] in message
    assert f"in {root}" in message
    assert not (tmp_path / "out").exists()


def places(content, way=()):
    """Every place of a JSON value that holds no other."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        if isinstance(value, (dict, list)) and value:
            yield from places(value, (*way, key))
        else:
            yield (*way, key)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 1 << 65), st.floats(allow_nan=False), st.text()
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_manifest_is_refused_or_deletes_the_same(home, tmp_path_factory, data):
    name = data.draw(st.sampled_from(["first", "later"]))
    file = data.draw(st.sampled_from([SOURCE, "run.json"]))
    folder: Path = tmp_path_factory.mktemp("changed")
    manifests = shutil.copytree(home / "m", folder / "manifests")
    found = sorted(places(json.loads((manifests / file).read_text())), key=repr)
    put(file, data.draw(VALUES), *data.draw(st.sampled_from(found)))(manifests)
    code = strip(home / name, folder / "out", "--manifest", manifests)
    assert code in (0, 5)
    assert (folder / "out").exists() == (code == 0)
    if code == 0:
        assert is_same(folder / "out", home / f"{name}-out")
    shutil.rmtree(folder)
