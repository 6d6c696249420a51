"""A deletion that manifests ask for: what they say of each source must be what the checkpoint says.

A directory of `unlearn.manifests` names its sources by id and lists their sinks, so it asks for a
deletion without names, titles or the corpus. Nothing in it is believed:

always                      the hashes of the router, its bucket table and its private sources, and
                            of each source its key, bucket, expert and the sinks of every layer,
                            must be the checkpoint's. Then the manifest's sinks are what is deleted.
of the same checkpoint      so must everything else, but for what others share: names, state, and
                            files with checksums and byte ranges.
of another one of the run   names, states and files may have changed (a later step, an earlier
                            deletion), sinks never do. They are checked for their form only.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.source_list import Means, Request
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.describe import Describer
from nulls_dist.unlearn.manifest_form import (
    PRIVATE_HASH,
    RUN_FORM,
    SOURCE_FORM,
    parse_manifest,
    read_regular,
    shown,
)
from nulls_dist.unlearn.manifests import RUN_FILE, SOURCES_DIR
from nulls_dist.unlearn.resolutions import Outcome, Resolution, Resolutions

_FILE_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,19})\.json")
_CHECKPOINT_HASH: Final = "checkpoint_manifest_sha256"
_ROUTER_HASHES: Final = ("router_sha256", "bucket_table_sha256", PRIVATE_HASH)
_ORIGIN: Final = ("format_version", _CHECKPOINT_HASH, *_ROUTER_HASHES)


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestOrigin:
    """Which manifests asked, for the report."""

    directory: str
    run_manifest_sha256: str
    """Of run.json."""
    checkpoint_manifest_sha256: str
    """Manifest of the checkpoint that they describe."""
    step: int
    """Of that checkpoint, as they say."""


def resolve_manifests(
    checkpoint: Checkpoint, table: SourceTable, root: Path
) -> tuple[Resolutions, ManifestOrigin]:
    """Compare manifests with a checkpoint and return the sources that they ask to delete.

    Args:
        checkpoint: to delete from.
        table: its sources.
        root: directory that `write_manifests` wrote; every file of its sources is one request.

    Returns:
        One resolution per manifest, ascending by id: matched, or unknown where the checkpoint has
        no such source; and where they came from.

    Raises:
        InputError: `root` holds no manifests, or none of a source.
        IntegrityError: a manifest is damaged, or says something else than the checkpoint.
    """
    describer = Describer(checkpoint, table)
    if not os.path.lexists(root / RUN_FILE):
        raise InputError(
            f"{root} holds no manifests: {RUN_FILE} is missing; name a directory that "
            "build_manifests.py wrote"
        )
    run_content = read_regular(root / RUN_FILE)
    run = parse_manifest(run_content, RUN_FORM, place=str(root / RUN_FILE))
    _check_run(run, describer, str(root / RUN_FILE))
    origin: dict[str, Any] = {name: run[name] for name in _ORIGIN if name in run}
    resolutions = []
    for line, source_id in enumerate(tqdm(_list_sources(root), "manifests", disable=None), 1):
        path = root / SOURCES_DIR / f"{source_id}.json"
        content = read_regular(path)
        manifest = parse_manifest(content, SOURCE_FORM, place=str(path))
        if manifest["source_id"] != source_id:
            raise IntegrityError(f"{path}: is of source {manifest['source_id']}, not of its name")
        _compare(manifest, origin, _ORIGIN, place=str(path), other=RUN_FILE)
        digest = hashlib.sha256(content).hexdigest()
        resolutions.append(_resolve(describer, manifest, str(path), line=line, digest=digest))
    return Resolutions.of(resolutions), ManifestOrigin(
        directory=str(root),
        run_manifest_sha256=hashlib.sha256(run_content).hexdigest(),
        checkpoint_manifest_sha256=run[_CHECKPOINT_HASH],
        step=run["step"],
    )


def _list_sources(root: Path) -> list[int]:
    """Return the ids that the names of the files say, ascending."""
    folder = root / SOURCES_DIR
    if folder.is_symlink():
        raise IntegrityError(f"{folder}: is a link, not a directory")
    if not folder.is_dir() or not (names := os.listdir(folder)):
        raise InputError(
            f"{root} holds the manifest of no source; name some when you build them: "
            "build_manifests.py CKPT SOURCES.txt --out DIR"
        )
    for name in names:
        if not _FILE_NAME.fullmatch(name) or int(name.removesuffix(".json")) >= NO_SOURCE:
            raise IntegrityError(f"{folder}: {shown(name)} is not named SOURCE_ID.json")
    return sorted(int(name.removesuffix(".json")) for name in names)


def _check_run(run: dict[str, Any], describer: Describer, place: str) -> None:
    """Require the checkpoint's router and, of the same checkpoint, its whole manifest."""
    expected = describer.run()
    names: tuple[str, ...] = (*_ROUTER_HASHES, "router", "private_sources")
    if run[_CHECKPOINT_HASH] == expected[_CHECKPOINT_HASH]:
        names += tuple(sorted(expected.keys() - {*names, "nulls_dist"}))
    _compare(run, expected, names, place=place, other=str(describer.checkpoint.root))


def _resolve(
    describer: Describer, manifest: dict[str, Any], place: str, *, line: int, digest: str
) -> Resolution:
    """Compare what a manifest says of its source with what the checkpoint says."""
    source_id = manifest["source_id"]
    name = f"{SOURCES_DIR}/{source_id}.json"
    request = Request(line=line, text=name, means=Means.ID, name=str(source_id))
    if describer.table.row_of(source_id) is None:
        detail = "the checkpoint has no source of this id"
        return Resolution(request=request, outcome=Outcome.UNKNOWN, detail=detail)
    expected = describer.routing(source_id)
    if manifest[_CHECKPOINT_HASH] == describer.origin[_CHECKPOINT_HASH]:
        expected |= describer.contents(expected)
    other = str(describer.checkpoint.root)
    _compare(manifest, expected, tuple(expected), place=place, other=other)
    return Resolution(
        request=request,
        outcome=Outcome.MATCHED,
        source_id=source_id,
        title=describer.table.title_of(source_id),
        detail=f"sha256 {digest}",
    )


def _compare(
    found: dict[str, Any],
    expected: dict[str, Any],
    names: tuple[str, ...],
    *,
    place: str,
    other: str,
) -> None:
    """Require equal values.

    Raises:
        IntegrityError: a field differs.
    """
    for name in names:
        told = json.loads(json.dumps(expected.get(name)))  # as it is read back from a file
        if difference := _find_difference(name, found.get(name), told):
            where, one, two = difference
            raise IntegrityError(
                f"{place}: {where} is {shown(one)}, but {shown(two)} in {other}; nothing was "
                "written. The manifest is damaged or of another run: build the manifests anew from "
                "a checkpoint of this run"
            )


def _find_difference(name: str, one: Any, two: Any) -> tuple[str, Any, Any] | None:
    """Return the first place where two values differ, and what is there: 1, 1.0, true are three."""
    if type(one) is not type(two):
        return name, one, two
    if isinstance(one, dict) and one.keys() == two.keys():
        parts = [(f"{name}.{key}", one[key], two[key]) for key in sorted(one)]
    elif isinstance(one, list) and len(one) == len(two):
        pairs = enumerate(zip(one, two, strict=True))
        parts = [(f"{name}[{place}]", *pair) for place, pair in pairs]
    else:
        return None if one == two else (name, one, two)
    return next(filter(None, (_find_difference(*part) for part in parts)), None)
