"""The directory of deletion records: ledger, key and a folder with the report of every deletion.

ledger.jsonl          what was deleted when, without names
key.pem, key.pub.pem  signs; the second one is to be given away
0000-REQUEST/         report.json (signed) and report.html
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from nulls_dist.checkpoint.store import CHECKPOINTS_DIR
from nulls_dist.durable import read_json, write_json, write_text
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.unlearn.ledger import LedgerEntry, locked_ledger
from nulls_dist.unlearn.report import FORMAT_VERSION, DeletionReport
from nulls_dist.unlearn.report_page import render_page
from nulls_dist.unlearn.signing import canonical_bytes, check_signature, open_key

_RECORDS_DIR: Final = "deletions"
_LEDGER_FILE: Final = "ledger.jsonl"
_KEY_FILE: Final = "key.pem"
_REPORT_FILE: Final = "report.json"
PAGE_FILE: Final = "report.html"


def default_records(checkpoint: Path) -> Path:
    """Return where the records of a checkpoint's deletions lie: with the run, or beside it."""
    parent = checkpoint.absolute().parent
    return (parent.parent if parent.name == CHECKPOINTS_DIR else parent) / _RECORDS_DIR


def record_deletion(records: Path, report: DeletionReport) -> tuple[DeletionReport, Path]:
    """Write a signed report, its page and the ledger's entry.

    Args:
        records: directory of the records, made where there is none.
        report: complete but for its place in the ledger.

    Returns:
        The report with that place, and the folder it was written to.

    Raises:
        InputError: the key is not readable.
        IntegrityError: the ledger is damaged or was begun with another key.
    """
    with locked_ledger(records / _LEDGER_FILE) as ledger:
        key = open_key(records / _KEY_FILE)
        ledger.check_key(key)
        sequence, previous = ledger.head.sequence, ledger.head.previous
        report = replace(report, ledger={"sequence": sequence, "previous": previous})
        assert report.request is not None
        assert report.done is not None
        assert report.output_manifest_sha256 is not None
        content = report.to_dict()
        digest = report_digest(content)
        name = report.request["request_id"]
        folder = records / (f"{sequence:04d}-{name}" if name else f"{sequence:04d}")
        folder.mkdir(exist_ok=True)  # exists where a writer died before its ledger entry
        write_json(folder / _REPORT_FILE, {"report": content, "signature": key.sign(content)})
        page = render_page(report, report_sha256=digest, public_key=key.public_key)
        write_text(folder / PAGE_FILE, page)
        ledger.append(
            LedgerEntry(
                sequence=sequence,
                previous=previous,
                time=report.done,
                request=name,
                grade=report.grade,
                step=report.step,
                commitments=tuple(sorted(key.commit(s["source_id"]) for s in report.deleted)),
                input=report.input_manifest_sha256,
                output=report.output_manifest_sha256,
                report=digest,
            ),
            key,
        )
    return report, folder


def report_digest(content: dict[str, Any]) -> str:
    """Return the sha256 of a report's canonical JSON."""
    return hashlib.sha256(canonical_bytes(content)).hexdigest()


def read_signed_report(path: Path) -> tuple[dict[str, Any], str]:
    """Read a report and check its signature.

    Returns:
        The report's fields, and the public key that signed them.

    Raises:
        InputError: the file is missing or of another kind.
        IntegrityError: it was changed after signing.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; name the report.json of a deletion")
    content = read_json(path)
    if not isinstance(content, dict) or set(content) != {"report", "signature"}:
        raise InputError(f"{path} is not the report.json of a deletion")
    report = content["report"]
    public_key = check_signature(report, content["signature"], place=str(path))
    if not isinstance(report, dict) or report.get("format_version") != FORMAT_VERSION:
        raise IntegrityError(f"{path}: format_version must be {FORMAT_VERSION}")
    return report, public_key
