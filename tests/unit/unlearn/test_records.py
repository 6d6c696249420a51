"""The records of deletions: a signed report, a page for people, a ledger that cannot be edited."""

import hashlib
import json
import os
import re
import stat
from html.parser import HTMLParser

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from nulls_dist.cli import run_command
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.unlearn.ledger import LedgerEntry, locked_ledger, read_ledger
from nulls_dist.unlearn.records import default_records, read_signed_report
from nulls_dist.unlearn.signing import (
    SigningKey,
    canonical_bytes,
    check_signature,
    open_key,
    read_public_key,
)
from tests.checkpoint_factory import build_checkpoint, key_id, rewrite_tensors, source_rows
from tools import strip_sources, verify_deletion

GOLDEN_SIGNATURE = (
    "sb5/f6wS7hJLWj/5JiSTv5YY1PBAHto8m7+v5P2f8wqE70Covtwxw8NrTePZKu3D8qce9A2cjgyMXd1kpi8LCQ=="
)
GOLDEN_COMMITMENT = "981d46206b4e80b5ef0c748c5a37570383215748b371f36db708a16d9a7146e4"
HOSTILE = "<script>alert('x')</script> & \"Co\""


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return open_key(tmp_path_factory.mktemp("key") / "key.pem")


def entry(ledger, key, *source_ids, request="r"):
    return LedgerEntry(
        sequence=ledger.head.sequence,
        previous=ledger.head.previous,
        time="2026-01-31T12:00:00+00:00",
        request=request,
        grade="excised",
        step=100,
        commitments=tuple(sorted(map(key.commit, source_ids))),
        input="a" * 64,
        output="b" * 64,
        report="c" * 64,
    )


def write_ledger(path, key, count):
    for number in range(count):
        with locked_ledger(path) as ledger:
            ledger.check_key(key)
            ledger.append(entry(ledger, key, number, request=f"r-{number}"), key)
    return path.read_bytes().splitlines(keepends=True)


def strip(checkpoint, sources, out, *options):
    arguments = [checkpoint, sources, "--out", out, "--max-collateral", 1, *options]
    return run_command(strip_sources.main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def deletion(tmp_path_factory):
    """A run of which two sources were deleted, one of them with a hostile title."""
    root = tmp_path_factory.mktemp("deletion")
    titles = [HOSTILE, *(f"Title {number:02d}" for number in range(1, 40))]
    checkpoint = build_checkpoint(
        root / "run/checkpoints/step-00000100", rows=source_rows(titles), step=100
    )
    build_checkpoint(root / "run/checkpoints/step-00000050", rows=source_rows(titles), step=50)
    sources = root / "sources.txt"
    sources.write_text(f"{HOSTILE}\nTitle 07\nnobody\n", encoding="utf-8")
    options = ["--allow-unknown", "--request-id", "GDPR-17", "--received", "2026-01-31"]
    assert strip(checkpoint, sources, root / "out", *options, "--notify", "Example Ltd") == 0
    return root


def test_a_ledger_reads_back_as_it_was_written(tmp_path, key):
    path = tmp_path / "ledger.jsonl"
    lines = write_ledger(path, key, 3)
    found = read_ledger(path)
    assert [(each.sequence, each.request) for each in found] == [(0, "r-0"), (1, "r-1"), (2, "r-2")]
    assert [each.previous for each in found] == [
        "",
        *(hashlib.sha256(line).hexdigest() for line in lines[:2]),
    ]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: lines[1:], "line 1: does not follow"),
        (lambda lines: [lines[0], lines[2]], "line 2: does not follow"),
        (lambda lines: [lines[0], lines[2], lines[1]], "line 2: does not follow"),
        (lambda lines: [lines[0], lines[0], lines[1]], "line 2: does not follow"),
        (lambda lines: [lines[0].replace(b"r-0", b"r-9"), *lines[1:]], "line 1: the signature"),
        (lambda lines: [lines[0].replace(b'"step":100', b'"step":101')], "line 1: the signature"),
        (lambda lines: [lines[0], lines[1][:-1]], "line 2: not a whole line"),
        (lambda lines: [b"[]\n"], "line 1: not a whole line"),
        (lambda lines: [b"{}\n"], "line 1: not an entry"),
        (lambda lines: [b"nonsense\n"], "line 1: not JSON"),
    ],
)
def test_an_edited_ledger_is_refused_with_the_line(tmp_path, key, edit, message):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"".join(edit(write_ledger(path, key, 3))))
    with pytest.raises(IntegrityError, match=message):
        read_ledger(path)


def test_a_line_whose_writer_died_is_dropped_by_the_next(tmp_path, key):
    path = tmp_path / "ledger.jsonl"
    lines = write_ledger(path, key, 2)
    path.write_bytes(lines[0] + lines[1][:40])
    with locked_ledger(path) as ledger:
        assert ledger.head.sequence == 1
        ledger.append(entry(ledger, key, 5, request="again"), key)
    assert [each.request for each in read_ledger(path)] == ["r-0", "again"]


def test_a_ledger_goes_on_with_its_key_only(tmp_path, key):
    path = tmp_path / "ledger.jsonl"
    write_ledger(path, key, 1)
    other = open_key(tmp_path / "other.pem")
    with locked_ledger(path) as ledger, pytest.raises(IntegrityError, match="is signed by the key"):
        ledger.check_key(other)


def test_commitments_name_a_source_to_whoever_has_the_key_and_to_nobody_else(key, tmp_path):
    other = open_key(tmp_path / "other.pem")
    assert key.commit(17) == key.commit(17)
    assert len({key.commit(17), key.commit(18), other.commit(17)}) == 3


def test_a_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "new" / "key.pem"
    made = open_key(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert open_key(path).public_key == made.public_key
    assert read_public_key(path.with_suffix(".pub.pem")) == made.public_key
    assert read_public_key(path) == made.public_key


def test_a_key_whose_writer_died_is_made_again(tmp_path, monkeypatch):
    path = tmp_path / "key.pem"

    def die(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fdopen", die)
    with pytest.raises(KeyboardInterrupt):
        open_key(path)
    monkeypatch.undo()
    assert not path.exists()
    assert open_key(path).public_key == read_public_key(path.with_suffix(".pub.pem"))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_what_is_no_key_is_refused(tmp_path, content):
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    for read in (open_key, read_public_key):
        with pytest.raises(InputError, match="not an unencrypted Ed25519 key"):
            read(path)


@settings(max_examples=25)
@given(st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v), max_leaves=5))
def test_a_signature_fits_its_content_alone(content):
    key = _fixed_key()
    signature = key.sign(content)
    assert check_signature(content, signature, place="here") == key.public_key
    with pytest.raises(IntegrityError, match="here: the signature does not fit"):
        check_signature([content], signature, place="here")


def _fixed_key():
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def test_key_signature_and_commitment_are_the_golden_ones():
    key = _fixed_key()
    assert key.public_key == "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
    content = {"b": [1, 2.5], "a": "\u00e9"}
    assert canonical_bytes(content) == '{"a":"\u00e9","b":[1,2.5]}'.encode()
    assert key.sign(content)["value"] == GOLDEN_SIGNATURE
    assert key.commit(1) == GOLDEN_COMMITMENT


@pytest.mark.parametrize(
    "signature",
    [None, {}, {"algorithm": "none", "public_key": "", "value": ""}, {"algorithm": "ed25519"}],
)
def test_a_malformed_signature_is_refused(signature):
    with pytest.raises(IntegrityError, match="no valid signature"):
        check_signature({}, signature, place="here")


def test_records_lie_with_the_run(deletion):
    assert default_records(deletion / "run/checkpoints/step-00000100") == deletion / "run/deletions"
    assert default_records(deletion / "out") == deletion / "deletions"
    found = sorted(path.name for path in (deletion / "run/deletions").iterdir())
    assert found == ["0000-GDPR-17", "key.pem", "key.pub.pem", "ledger.jsonl"]


def test_the_report_accounts_for_lines_files_surfaces_and_the_ledger(deletion):
    folder = deletion / "run/deletions/0000-GDPR-17"
    report, _ = read_signed_report(folder / "report.json")
    assert report["request"] == {
        "request_id": "GDPR-17",
        "received": "2026-01-31",
        "due": "2026-02-28",
        "basis": "",
        "recipients": ["Example Ltd"],
    }
    assert [line["outcome"] for line in report["lines"]] == ["matched", "matched", "unknown"]
    assert sorted(source["source_id"] for source in report["deleted"]) == sorted(
        map(key_id, ("k-0", "k-7"))
    )
    manifest = json.loads((deletion / "out/manifest.json").read_text())
    assert [file["sha256"] for file in report["output_files"]] == [
        file["sha256"] for file in manifest["files"]
    ]
    verdicts = {surface["name"]: surface["verdict"] for surface in report["surfaces"]}
    assert verdicts["weights of the output"] == "EXCISED"
    assert verdicts["both moments of the output"] == "EXCISED"
    assert verdicts["retained checkpoint step-00000050"] == "STILL HOLDS IT"
    assert verdicts["backups"] == "NOT SEEN"
    assert report["ledger"] == {"sequence": 0, "previous": ""}


def test_the_ledger_names_no_source(deletion):
    text = (deletion / "run/deletions/ledger.jsonl").read_text(encoding="utf-8")
    assert "Title" not in text
    assert "script" not in text
    for source_id in (key_id("k-0"), key_id("k-7")):
        assert str(source_id) not in text
    key = open_key(deletion / "run/deletions/key.pem")
    expected = sorted(key.commit(key_id(name)) for name in ("k-0", "k-7"))
    assert json.loads(text)["commitments"] == expected


class _Page(HTMLParser):
    """Collects tags and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_needs_nothing_else_and_runs_nothing(deletion):
    path = deletion / "run/deletions/0000-GDPR-17/report.html"
    page = _Page(path.read_text(encoding="utf-8"))
    text = re.sub(r"\s+", " ", "".join(page.texts))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe"}
    assert not any({"src", "href"} & attributes.keys() for _, attributes in page.tags)
    for expected in ("GDPR-17", "2026-02-28", HOSTILE, "Example Ltd", "Title 07", "nobody"):
        assert expected in text
    assert "2 sources excised" in text
    assert "It was not asked" in text
    assert json.loads((path.parent.parent / "ledger.jsonl").read_text())["report"] in text


def verify(*arguments):
    return run_command(verify_deletion.main, list(map(str, arguments)))


def test_a_deletion_is_proved_from_its_report(deletion, capsys):
    records = deletion / "run/deletions"
    report = records / "0000-GDPR-17/report.json"
    options = ["--ledger", records / "ledger.jsonl", "--public-key", records / "key.pub.pem"]
    assert verify(report, deletion / "out", *options, "--json") == 0
    proof = json.loads(capsys.readouterr().out)
    assert proof["num_sources"] == 2
    assert proof["is_same"] is proof["key_expected"] is True
    assert proof["ledger_sequence"] == 0
    assert proof["num_values"] == json.loads(report.read_text())["report"]["num_values_verified"]
    assert verify(report, deletion / "out") == 0
    assert "compare it with the one you were given" in capsys.readouterr().out


def test_the_proof_of_a_suppression_says_that_the_weights_are_there(tmp_path, capsys):
    sources = tmp_path / "sources.txt"
    sources.write_text("Title 07\n")
    checkpoint = build_checkpoint(tmp_path / "run/checkpoints/step-00000100")
    build_checkpoint(tmp_path / "run/checkpoints/step-00000100-stripped")
    assert strip(checkpoint, sources, tmp_path / "out", "--mode", "suppress") == 0
    report = tmp_path / "run/deletions/0000/report.json"
    capsys.readouterr()
    assert verify(report, tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert "the weights of the sources are still in the files" in text
    assert text.endswith("its sources are suppressed\n")
    surfaces = {each["name"]: each["verdict"] for each in read_signed_report(report)[0]["surfaces"]}
    assert surfaces["retained checkpoint step-00000100-stripped"] == "STILL HOLDS IT"


def test_a_later_deletion_leaves_the_proof_of_an_earlier_one(deletion, tmp_path, capsys):
    sources = tmp_path / "sources.txt"
    sources.write_text("Title 09\n")
    again = ["--records", deletion / "run/deletions"]
    assert strip(deletion / "out", sources, tmp_path / "second", *again) == 0
    report = deletion / "run/deletions/0000-GDPR-17/report.json"
    capsys.readouterr()
    assert verify(report, tmp_path / "second") == 0
    assert "another one, deleted from likewise" in capsys.readouterr().out
    ledger = deletion / "run/deletions/ledger.jsonl"
    assert [each.sequence for each in read_ledger(ledger)] == [0, 1]
    assert verify(deletion / "run/deletions/0001/report.json", deletion / "out") == 5
    assert "has no tombstone" in capsys.readouterr().err


def test_what_does_not_hold_is_said(deletion, tmp_path, capsys):
    report = deletion / "run/deletions/0000-GDPR-17/report.json"
    assert verify(report, deletion / "run/checkpoints/step-00000100") == 5
    assert "has no tombstone" in capsys.readouterr().err

    content = json.loads(report.read_text())
    content["report"]["num_deleted"] = 3
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(content))
    assert verify(changed, deletion / "out") == 5
    assert "changed after signing" in capsys.readouterr().err

    open_key(tmp_path / "other.pem")
    assert verify(report, deletion / "out", "--public-key", tmp_path / "other.pub.pem") == 5
    assert "is signed by the key" in capsys.readouterr().err

    other = open_key(tmp_path / "k" / "key.pem")
    write_ledger(tmp_path / "ledger.jsonl", other, 1)
    assert verify(report, deletion / "out", "--ledger", tmp_path / "ledger.jsonl") == 5
    assert "holds no entry of this report" in capsys.readouterr().err

    for path in (deletion / "out/manifest.json", tmp_path / "none"):
        assert verify(path, deletion / "out") == 3
        assert "report.json" in capsys.readouterr().err


def test_a_value_put_back_is_found(deletion, tmp_path, capsys):
    sources = tmp_path / "sources.txt"
    sources.write_text("Title 07\n")
    checkpoint = build_checkpoint(tmp_path / "checkpoint")
    assert strip(checkpoint, sources, tmp_path / "out", "--records", tmp_path / "records") == 0
    report = json.loads((tmp_path / "records/0000/report.json").read_text())["report"]
    file = next(name for name in report["rewritten"] if name.startswith("weights/"))

    def put_back(tensors):
        name = next(name for name in tensors if name.endswith("down"))
        return {**tensors, name: tensors[name].masked_fill(tensors[name] == 0, 1e-9)}

    rewrite_tensors(tmp_path / "out", file, put_back)
    assert verify(tmp_path / "records/0000/report.json", tmp_path / "out") == 5
    assert "does not hold the recorded values" in capsys.readouterr().err


def test_all_checkpoints_of_a_run_are_stripped_at_once(tmp_path, capsys):
    for step in (50, 100, 150):
        build_checkpoint(tmp_path / f"run/checkpoints/step-{step:08d}", step=step)
    sources = tmp_path / "sources.txt"
    sources.write_text("Title 07\n")
    named = tmp_path / "run/checkpoints/step-00000100"
    options = [named, sources, "--all-checkpoints", "--max-collateral", 1]
    assert run_command(strip_sources.main, list(map(str, options))) == 0
    capsys.readouterr()
    out = tmp_path / "run/checkpoints-stripped"
    report = tmp_path / "run/deletions/0000/report.json"
    assert sorted(path.name for path in out.iterdir()) == [
        f"step-{step:08d}" for step in (50, 100, 150)
    ]
    for path in out.iterdir():
        assert verify(report, path) == 0
        told = "the one of the report" if path.name == named.name else "another one"
        assert told in capsys.readouterr().out
    surfaces, _ = read_signed_report(report)
    told = {each["name"]: each["detail"] for each in surfaces["surfaces"]}
    for step in (50, 150):
        digest = hashlib.sha256((out / f"step-{step:08d}/manifest.json").read_bytes()).hexdigest()
        assert digest in told[f"retained checkpoint step-{step:08d}"]


def test_all_checkpoints_wants_a_run(deletion, tmp_path, capsys):
    sources = tmp_path / "sources.txt"
    sources.write_text("Title 09\n")
    assert strip(deletion / "out", sources, tmp_path / "second", "--all-checkpoints") == 3
    assert "is not a checkpoint of a run" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()
