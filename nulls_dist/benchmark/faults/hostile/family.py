"""The rows of the table about hostile files."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from nulls_dist.benchmark.faults.hostile.arrow_files import arrow_cases
from nulls_dist.benchmark.faults.hostile.case import Case, judge, sampled
from nulls_dist.benchmark.faults.hostile.configurations import configuration_cases
from nulls_dist.benchmark.faults.hostile.ground import Ground, open_ground
from nulls_dist.benchmark.faults.hostile.manifests import manifest_cases
from nulls_dist.benchmark.faults.hostile.pickles import PAYLOADS, pickle_cases
from nulls_dist.benchmark.faults.hostile.source_lists import judge_drawn, list_cases
from nulls_dist.benchmark.faults.hostile.tensor_files import (
    headers,
    rewritten,
    tensor_file_cases,
)
from nulls_dist.benchmark.faults.outcome import Fault, scaled
from nulls_dist.benchmark.faults.workshop import Workshop

_DRAWN: Final = 5000
_PROMISE: Final = (
    "the promised exit code, the file named where it is read by itself, no traceback; less than "
    "512 MiB taken, inputs unchanged to the bit, nothing written"
)
_NUM_HEADERS: Final = len(headers()) + len(rewritten())
_KINDS: Final[dict[str, Callable[[Ground], Iterator[Case]]]] = {
    f"{len(PAYLOADS)} pickles and other code in each place where a file is read": pickle_cases,
    f"{_NUM_HEADERS} malformed safetensors headers, the checksums true": tensor_file_cases,
    "manifests that lie, the checksums true": manifest_cases,
    "configurations that cannot be": configuration_cases,
    "lists of sources made by hand": list_cases,
    "Arrow files that break the format, the checksums true": arrow_cases,
}


def read_hostile_files(shop: Workshop) -> list[Fault]:
    """Let the commands read hostile files."""
    ground = open_ground(shop)
    faults = []
    for what, cases in _KINDS.items():
        fault = Fault(fault=what, promise=_PROMISE)
        begin = time.monotonic()
        judge(sampled(cases(ground), shop.share), fault, ground.scratch)
        fault.measure("seconds", time.monotonic() - begin)
        faults.append(fault)
    drawn = Fault(
        fault="lists of sources drawn at random",
        promise="the promised exit code, every line counted as what it is, inputs unchanged to "
        "the bit, nothing written",
    )
    begin = time.monotonic()
    judge_drawn(ground, drawn, scaled(_DRAWN, shop.share))
    drawn.measure("seconds", time.monotonic() - begin)
    return [*faults, drawn]
