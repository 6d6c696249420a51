"""Safetensors files that are none, with headers that lie; manifests agree with them."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from nulls_dist.benchmark.faults.hostile.case import Case
from nulls_dist.benchmark.faults.hostile.ground import Ground, forge
from nulls_dist.checkpoint.format import (
    backbone_optimizer_file,
    backbone_weights_file,
    sink_optimizer_file,
    sink_tensor,
    sink_weights_file,
)
from nulls_dist.errors import IntegrityError

_HEADER_LIMIT: Final = 100_000_000
_NAME: Final = sink_tensor(0, "gate")
_SHAPE: Final = (32, 16)
_SIZE: Final = 2048
_ENTRY: Final[dict[str, Any]] = {
    "dtype": "F32",
    "shape": list(_SHAPE),
    "data_offsets": [0, _SIZE],
}
_MANY: Final = 100_000
_LENGTH_BYTES: Final = 8
_TWICE: Final = "a name twice"
_MORE: Final = "100,000 tensors of no bytes more"
_SAID: Final = {_TWICE: "twice", _MORE: "t0"}
"""What the refusal must say of files whose headers are well-formed."""


def tensor_file_cases(ground: Ground) -> Iterator[Case]:
    """Yield every header in every kind of file that has one, made up or from the file's own."""
    readers = {
        backbone_weights_file(0): ("verify_checkpoint", "weights/backbone-part"),
        sink_weights_file(0): ("strip_sources", "sinks-expert-0000.safetensors"),
        sink_weights_file(1): ("verify_checkpoint", "sinks-expert-0001.safetensors"),
        backbone_optimizer_file(0): ("nulls_dist.pretrain", "optimizer/backbone-part0000"),
        sink_optimizer_file(0, 0): ("strip_sources", "sinks-expert-0000-part0000.safetensors"),
    }
    for what, content in headers().items():
        for name, (tool, said) in readers.items():
            change = partial(forge, name=name, content=content)
            code = IntegrityError.exit_code
            yield ground.on_checkpoint(f"{name}: {what}", tool, change, code, (said,))
    for what, rewrite in rewritten().items():
        for name, (tool, said) in readers.items():
            change = partial(_forge_anew, name=name, rewrite=rewrite)
            yield ground.on_checkpoint(
                f"{name}: {what}", tool, change, IntegrityError.exit_code, (said, _SAID[what])
            )


def _forge_anew(root: Path, name: str, rewrite: Callable[[bytes], bytes]) -> None:
    forge(root, name, rewrite((root / name).read_bytes()))


def rewritten() -> dict[str, Callable[[bytes], bytes]]:
    """Return what is done to a file that is well-formed, by what is wrong afterwards."""
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    many = {f"t{number}": empty for number in range(_MANY)}
    return {
        _TWICE: lambda content: _with_entries(content, {_first_name(content): empty}),
        _MORE: lambda content: _with_entries(content, many),
    }


def _first_name(content: bytes) -> str:
    header, _ = _split(content)
    names: list[str] = sorted(set(json.loads(header)) - {"__metadata__"})
    return names[0]


def _with_entries(content: bytes, entries: dict[str, Any]) -> bytes:
    """Return a file whose header says something more before what it says already."""
    header, data = _split(content)
    return _raw(json.dumps(entries).encode()[:-1] + b"," + header.lstrip()[1:]) + data


def _split(content: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    return content[_LENGTH_BYTES:][:length], content[_LENGTH_BYTES + length :]


def headers() -> dict[str, bytes]:
    """Return the files by what is wrong with each."""

    def entry(**changes: Any) -> dict[str, Any]:
        return {_NAME: _ENTRY | changes}

    overlapping = {_NAME: _ENTRY, "decoder.other": _ENTRY}
    apart = {
        _NAME: _ENTRY,
        "decoder.other": _ENTRY | {"data_offsets": [_SIZE + 64, 2 * _SIZE + 64]},
    }
    metadata = {"__metadata__": {"format": ["a", "list"]}, _NAME: _ENTRY}
    return {
        "empty file": b"",
        "header of no bytes": bytes(8),
        "header longer than the file": _file({}, length=1 << 40),
        "header of 2^62 bytes": _file({}, length=1 << 62),
        "header above the limit of 100 MB": _file({}, length=_HEADER_LIMIT + 1),
        "header that is no JSON": (5).to_bytes(8, "little") + b"hello",
        "header that is not UTF-8": (4).to_bytes(8, "little") + b'{"\xff"',
        "header that is a list": _file([1, 2]),
        "header nested 100,000 deep": _raw(b"[" * _MANY),
        "tensors that overlap": _file(overlapping) + bytes(_SIZE),
        "tensors with a gap": _file(apart) + bytes(2 * _SIZE + 64),
        "offsets beyond the file": _file(entry()) + bytes(_SIZE // 2),
        "offsets backwards": _file(entry(data_offsets=[_SIZE, 0])) + bytes(_SIZE),
        "negative offsets": _file(entry(data_offsets=[-_SIZE, 0])) + bytes(_SIZE),
        "negative shape": _file(entry(shape=[-32, -16])) + bytes(_SIZE),
        "shape whose product overflows": _file(entry(shape=[1 << 40, 1 << 40])) + bytes(_SIZE),
        "unknown type": _file(entry(dtype="PICKLE")) + bytes(_SIZE),
        "metadata that is no text": _file(metadata) + bytes(_SIZE),
    }


def _file(header: Any, *, length: int | None = None) -> bytes:
    return _raw(json.dumps(header).encode(), length)


def _raw(header: bytes, length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header
