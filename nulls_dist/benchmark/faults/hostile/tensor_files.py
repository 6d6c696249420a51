"""Safetensors files that are none, with headers that lie; manifests agree with them."""

import json
from collections.abc import Iterator
from functools import partial
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


def tensor_file_cases(ground: Ground) -> Iterator[Case]:
    """Yield every header in every kind of file that has one."""
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


def headers() -> dict[str, bytes]:
    """Return the files by what is wrong with each."""

    def entry(**changes: Any) -> dict[str, Any]:
        return {_NAME: _ENTRY | changes}

    overlapping = {_NAME: _ENTRY, "decoder.other": _ENTRY}
    apart = {
        _NAME: _ENTRY,
        "decoder.other": _ENTRY | {"data_offsets": [_SIZE + 64, 2 * _SIZE + 64]},
    }
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    twice = f'{{"{_NAME}": {json.dumps(_ENTRY)}, "{_NAME}": {json.dumps(_ENTRY)}}}'
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
        "a name twice": _raw(twice.encode()) + bytes(_SIZE),
        "metadata that is no text": _file(metadata) + bytes(_SIZE),
        "100,000 tensors of no bytes": _file({f"t{number}": empty for number in range(_MANY)}),
    }


def _file(header: Any, *, length: int | None = None) -> bytes:
    return _raw(json.dumps(header).encode(), length)


def _raw(header: bytes, length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header
