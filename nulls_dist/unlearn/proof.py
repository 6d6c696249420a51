"""Check a deletion's report against the checkpoint it speaks of, from the files alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nulls_dist.checkpoint.format import MANIFEST_FILE, Grade
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.durable import sha256_file
from nulls_dist.errors import IntegrityError
from nulls_dist.unlearn.ledger import read_ledger
from nulls_dist.unlearn.plan import verifiable_sources
from nulls_dist.unlearn.records import read_signed_report, report_digest
from nulls_dist.unlearn.signing import read_public_key
from nulls_dist.unlearn.strip import verify_excisions


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What was found to hold."""

    public_key: str
    """That signed the report, base64."""
    key_expected: bool
    """Whether it was compared with a key that the user named."""
    grade: Grade
    num_sources: int
    """Deleted by the report."""
    is_same: bool
    """Whether the checkpoint is, to the bit, the one of the report, and not one after it."""
    num_files: int
    """Compared with their checksums."""
    num_values: int
    """Elements of weights, master weights and moments that hold the recorded values."""
    ledger_sequence: int | None
    """Place of the deletion in the ledger; None where no ledger was named."""


def prove_deletion(
    report_file: Path, root: Path, *, ledger: Path | None, public_key: Path | None
) -> Proof:
    """Check signature, ledger, files, tombstones and excised values.

    Args:
        report_file: report.json of the deletion.
        root: the checkpoint of the report, or one that later deletions made of it.
        ledger: to find the deletion in.
        public_key: file with the key that must have signed.

    Raises:
        InputError: a file is of another kind.
        IntegrityError: something does not hold.
    """
    report, signer = read_signed_report(report_file)
    if public_key is not None and (expected := read_public_key(public_key)) != signer:
        raise IntegrityError(
            f"{report_file} is signed by the key {signer}, not by {expected} of {public_key}"
        )
    sequence = None if ledger is None else _find_entry(ledger, report)
    checkpoint = Checkpoint(root)
    _check_tombstones(checkpoint, report)
    num_files = sum(1 for _ in checkpoint.verify())
    _, num_values = verify_excisions(checkpoint)
    found = sha256_file(root / MANIFEST_FILE)
    return Proof(
        public_key=signer,
        key_expected=public_key is not None,
        grade=Grade(report["grade"]),
        num_sources=report["num_deleted"],
        is_same=found == report["output_manifest_sha256"],
        num_files=num_files,
        num_values=num_values,
        ledger_sequence=sequence,
    )


def _find_entry(ledger: Path, report: dict[str, Any]) -> int:
    digest = report_digest(report)
    for entry in read_ledger(ledger):
        if entry.report == digest:
            return entry.sequence
    raise IntegrityError(f"{ledger} holds no entry of this report (sha256 {digest})")


def _check_tombstones(checkpoint: Checkpoint, report: dict[str, Any]) -> None:
    """Require each deleted source's tombstone, and that its values can still be compared."""
    grades = {entry.source_id: entry.grade for entry in checkpoint.manifest.tombstones}
    verifiable = set(verifiable_sources(checkpoint).tolist())
    is_excision = report["grade"] == Grade.EXCISED
    for source in report["deleted"]:
        number, name = source["source_id"], source["title"]
        if number not in grades:
            raise IntegrityError(
                f"{checkpoint.root}: {name!r} (id:{number}) has no tombstone; this checkpoint was "
                "made before the deletion, or of another model"
            )
        if is_excision and grades[number] is not Grade.EXCISED:
            raise IntegrityError(f"{checkpoint.root}: {name!r} is only {grades[number]}")
        if is_excision and number not in verifiable:
            raise IntegrityError(
                f"{checkpoint.root}: the model was trained on after {name!r} was excised, so the "
                "recorded values are no longer there to be compared; name the checkpoint of the "
                "report"
            )
