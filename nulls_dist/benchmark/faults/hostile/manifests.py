"""Manifests of checkpoints, corpora and sources that lie; their checksums of themselves agree."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from nulls_dist.benchmark.faults.hostile.case import Case
from nulls_dist.benchmark.faults.hostile.ground import MANIFEST, REQUEST, Change, Ground, edit, put
from nulls_dist.errors import InputError, IntegrityError

_DIGITS: Final = 5_000
_LEVELS: Final = 100_000
_MANY: Final = 100_000
_HUGE: Final = 10**30

_BAD: Final = IntegrityError.exit_code


def manifest_cases(ground: Ground) -> Iterator[Case]:
    """Yield every manifest with the command that reads it."""
    for what, change in _of_any(MANIFEST).items():
        yield ground.on_checkpoint(
            f"{MANIFEST}: {what}", "strip_sources", change, _BAD, (MANIFEST,)
        )
    for what, (change, says) in _of_checkpoints().items():
        yield ground.on_checkpoint(f"{MANIFEST}: {what}", "verify_checkpoint", change, _BAD, says)
    yield ground.on_checkpoint(
        f"{MANIFEST}: a pipe", "verify_checkpoint", _pipe, InputError.exit_code, (MANIFEST,)
    )
    for what, (change, says) in _of_corpora().items():
        yield ground.on_corpus(f"{MANIFEST}: {what}", change, _BAD, says)
    for what, change in _of_sources().items():
        yield _on_manifests(ground, what, change)


def _on_manifests(ground: Ground, what: str, change: Callable[[Path], None]) -> Case:
    """Return a deletion that a source's changed manifest asks for."""
    folder = ground.folder(ground.checkpoint, ground.manifests)
    root = folder / ground.manifests.name
    (source, *_) = sorted((root / "sources").iterdir())
    change(source)
    options = ("--max-collateral", "1", "--out", str(folder / "out"))
    return Case(
        what=f"strip_sources --manifest: {what}",
        folder=folder,
        command=(
            *("strip_sources", str(folder / ground.checkpoint.name), "--manifest", str(root)),
            *options,
        ),
        codes=(_BAD,),
        says=(source.stem,),
    )


def _of_any(name: str) -> dict[str, Change]:
    """Return what is no JSON of one meaning; each takes the folder of the file."""

    def raw(content: bytes) -> Change:
        return lambda root: put(root / name, content)

    def twice(root: Path) -> None:
        text = (root / name).read_text(encoding="utf-8").lstrip().removeprefix("{")
        put(root / name, f'{{"format_version": 1, {text}')

    def in_utf16(root: Path) -> None:
        put(root / name, (root / name).read_text(encoding="utf-8").encode("utf-16"))

    return {
        "empty": raw(b""),
        "cut": lambda root: put(root / name, (root / name).read_bytes()[:-100]),
        "a list": raw(b"[1]"),
        "a key twice": twice,
        "NaN": raw(b'{"format_version": NaN}'),
        "an integer of 5,000 digits": raw(b'{"format_version": ' + b"9" * _DIGITS + b"}"),
        "nested 100,000 deep": raw(b"[" * _LEVELS),
        "a byte order mark": lambda root: put(
            root / name, b"\xef\xbb\xbf" + (root / name).read_bytes()
        ),
        "UTF-16": in_utf16,
    }


def _of_checkpoints() -> dict[str, tuple[Change, tuple[str, ...]]]:
    def listed(path: str) -> Change:
        record = {"path": path, "num_bytes": 1, "sha256": "", "num_rows": 0, "num_tokens": 0}
        return _edited(lambda content: content["files"].append(record))

    def repeated(content: dict[str, Any]) -> None:
        content["files"] = [content["files"][0]] * _MANY

    def deepen(content: dict[str, Any]) -> None:
        for part in ("model", "router"):
            content[part]["num_layers"] = 10**9

    def tombstone(**changes: Any) -> Change:
        entry = {"source_id": 1, "grade": "excised", "seed": 0} | changes
        return _edited(lambda content: content.update(tombstones=[entry]))

    named = (MANIFEST,)
    return {
        "a path upwards": (listed("../sources.txt"), ("outside its directory: '../s",)),
        "an absolute path": (listed("/etc/hostname"), ("outside its directory: '/etc",)),
        "a path with NUL": (listed("weights/\0"), ("outside its directory", "weights/")),
        "a path that cannot be encoded": (listed("weights/\ud800"), ("weights/",)),
        "a device": (listed("/dev/zero"), ("outside its directory: '/dev",)),
        "100,000 times the same file": (_edited(repeated), named),
        "a field more": (_edited(lambda content: content.update(surprise=1)), ("surprise",)),
        "a billion layers": (_edited(deepen), ("num_layers (1000000000)",)),
        "layers beyond 64 bits": (_put_value(_HUGE, "router", "num_layers"), ("num_layers",)),
        "sinks beyond 64 bits": (_put_value(_HUGE, "router", "num_sinks"), named),
        "active sinks below 0": (_put_value(-8, "router", "num_active"), named),
        "a step beyond 64 bits": (_put_value(_HUGE, "step"), named),
        "a billion experts": (_put_value(10**9, "router", "num_experts"), ("num_experts",)),
        "a tombstone of source -1": (tombstone(source_id=-1), named),
        "a tombstone's seed that is true": (tombstone(seed=True), named),
        "a tokenizer outside": (_put_value("../sources.txt", "tokenizer", "file"), (REQUEST,)),
        "a table of buckets that is cut": (_put_value("AAAA", "bucket_table"), ("bucket_table",)),
    }


def _of_corpora() -> dict[str, tuple[Change, tuple[str, ...]]]:
    whole = _of_any(MANIFEST)
    named = (MANIFEST,)
    return {
        **{what: (whole[what], named) for what in ("a key twice", "nested 100,000 deep")},
        "a billion partitions": (_put_value(10**9, "num_partitions"), ("part-",)),
        "no partitions": (_put_value(0, "num_partitions"), named),
        "partitions below 0": (_put_value(-1, "num_partitions"), named),
        "another router's seed": (_put_value(_HUGE, "router_seed"), ("another partition",)),
        "a number that is text": (_put_value("24", "num_sources"), ("num_sources",)),
        "a tokenizer outside": (_put_value("../sources.txt", "tokenizer", "file"), (REQUEST,)),
        "a partition outside": (_put_value("../x.arrow", "files", 0, "path"), ("../x.arrow",)),
    }


def _of_sources() -> dict[str, Change]:
    """Return changes of a source's manifest; each takes the file itself."""

    def linked(path: Path) -> None:
        path.unlink()
        path.symlink_to("/dev/zero")

    def set_to(value: Any, *keys: Any) -> Change:
        return lambda path: edit(path, lambda content: _set(content, value, keys))

    return {
        "a path upwards": set_to("../../weights/x.safetensors", "files", 0, "path"),
        "a sink beyond 64 bits": set_to(_HUGE, "sinks", 0, 0),
        "100,000 layers": set_to([[]] * _MANY, "sinks"),
        "a link to a device": linked,
    }


def _pipe(root: Path) -> None:
    (root / MANIFEST).unlink()
    os.mkfifo(root / MANIFEST)


def _edited(change: Callable[[dict[str, Any]], object]) -> Change:
    return lambda root: edit(root / MANIFEST, change)


def _put_value(value: Any, *keys: Any) -> Change:
    return _edited(lambda content: _set(content, value, keys))


def _set(content: Any, value: Any, keys: tuple[Any, ...]) -> None:
    *way, last = keys
    for key in way:
        content = content[key]
    content[last] = value
