"""The released mask, bit for bit."""

import hashlib
import json
from pathlib import Path

import pytest

from nulls_dist.routing.reference import reference_active_sinks

CASES = json.loads((Path(__file__).parents[2] / "golden" / "seqtd_golden.json").read_text())[
    "cases"
]


def test_the_golden_file_holds_what_it_should():
    assert len(CASES) == 25
    assert {case["id_dtype"] for case in CASES} == {"int32", "int64"}


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['seq_id']}-{c['id_dtype']}")
def test_the_reference_mask_equals_the_golden_file(case):
    active = reference_active_sinks(
        case["seq_id"], case["pool_size"], case["p_active"], case["id_dtype"]
    )
    assert len(active) == case["count"]
    if case["active"] is not None:
        assert active == case["active"]
    assert hashlib.sha256(json.dumps(active).encode()).hexdigest() == case["sha256"]


def test_int32_ids_that_agree_in_16_bits_share_a_mask_and_int64_ids_do_not():
    twins = [49_152 + 65_536 * n for n in (0, 1, 5)]
    narrow = [reference_active_sinks(number, 512, 0.05) for number in twins]
    wide = [reference_active_sinks(number, 512, 0.05, "int64") for number in twins]
    assert narrow[0] == narrow[1] == narrow[2]
    assert len({tuple(mask) for mask in wide}) == 3


def test_one_int32_mask_in_65536_activates_every_sink():
    assert reference_active_sinks(65_536, 64, 0.013) == list(range(64))
    assert len(reference_active_sinks(65_536, 64, 0.013, "int64")) < 64
