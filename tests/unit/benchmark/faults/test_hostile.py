"""What judges hostile files finds every way of breaking the promise, and its files are hostile."""

import gzip
import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load, save

from nulls_dist.benchmark.faults.hostile.answers import Answer
from nulls_dist.benchmark.faults.hostile.case import CANARY, Case, sampled, snapshot
from nulls_dist.benchmark.faults.hostile.pickles import PAYLOADS
from nulls_dist.benchmark.faults.hostile.source_lists import draw_list
from nulls_dist.benchmark.faults.hostile.tensor_files import headers, rewritten
from nulls_dist.errors import InputError
from nulls_dist.source_list import read_requests

REFUSED = Answer(code=5, said="error: file.bin: not what it says; make it again\n")


@pytest.fixture
def case(tmp_path):
    (tmp_path / "file.bin").write_bytes(b"hostile")
    return Case(what="", folder=tmp_path, command=("tool",), codes=(5,), says=("file.bin",))


def test_a_refusal_as_promised_passes(case):
    assert case.problems(REFUSED, snapshot(case.folder)) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"code": 0}, "exit code 0"),
        ({"code": None}, "exit code None"),
        ({"said": "error: damaged"}, "does not say 'file.bin'"),
        ({"said": "file.bin\nTraceback (most recent call last):"}, "a traceback"),
        ({"said": "file.bin" + "x" * 9000}, "a line of 9008 characters"),
        ({"grown_mib": 2000.0}, "took 2000 MiB"),
    ],
)
def test_an_answer_that_is_not_the_promised_one_is_found(case, changes, found):
    problems = case.problems(replace(REFUSED, **changes), snapshot(case.folder))
    assert any(found in problem for problem in problems)


def test_traces_in_the_folder_are_found_unless_they_are_allowed(case):
    before = snapshot(case.folder)
    (case.folder / "out").mkdir()
    assert "changed ['out']" in case.problems(REFUSED, before)
    assert replace(case, leaves=("out",)).problems(REFUSED, before) == []
    (case.folder / CANARY).mkdir()
    assert "EXECUTED" in case.problems(REFUSED, before)
    (case.folder / "file.bin").write_bytes(b"changed")
    assert "changed ['canary', 'file.bin', 'out']" in case.problems(REFUSED, before)


def test_a_sample_is_spread_over_all_cases_and_leaves_no_folders(tmp_path):
    def cases():
        for number in range(100):
            (tmp_path / str(number)).mkdir()
            yield Case(what=str(number), folder=tmp_path / str(number), command=(), codes=())

    kept = [int(case.what) for case in sampled(cases(), 0.1)]
    assert len(kept) == 10
    assert np.diff(kept).max() <= 10
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == kept


READERS = {
    "torch's archive": lambda content: torch.load(io.BytesIO(content), weights_only=False),
    "torch's old format": lambda content: torch.load(io.BytesIO(content), weights_only=False),
    "numpy's array of objects": lambda content: np.load(io.BytesIO(content), allow_pickle=True),
    "numpy's archive of objects": lambda content: np.load(io.BytesIO(content), allow_pickle=True)[
        "weight"
    ],
    "compressed pickle": lambda content: pickle.loads(gzip.decompress(content)),  # noqa: S301
    "YAML tag": yaml.unsafe_load,
    "a second pickle behind a harmless one": lambda content: [
        pickle.load(file)  # noqa: S301
        for file in [io.BytesIO(content)] * 2
    ],
}


@pytest.mark.parametrize("what", PAYLOADS)
def test_a_reader_that_trusts_a_payload_executes_it(what, tmp_path):
    canary = tmp_path / CANARY
    content = PAYLOADS[what](str(canary))
    assert not canary.exists()
    READERS.get(what, pickle.loads)(content)
    assert canary.is_dir()


@pytest.mark.parametrize("what", sorted(headers()))
def test_a_malformed_header_is_malformed(what):
    with pytest.raises(SafetensorError):
        load(headers()[what])


@pytest.mark.parametrize("what", sorted(rewritten()))
def test_a_rewritten_file_is_still_read_by_a_reader_that_trusts_it(what):
    content = save({"a": torch.arange(4.0), "b": torch.ones(2, 2)})
    assert torch.equal(load(rewritten()[what](content))["b"], torch.ones(2, 2))


def test_drawn_lists_are_of_every_kind_and_read_as_drawn(tmp_path):
    names = {number: [f"Title {number}", f"id:{number}"] for number in (3, 5, 8)}
    draws = np.random.default_rng(1)
    codes, duplicates, path = set(), 0, tmp_path / "sources.txt"
    for _ in range(200):
        drawn = draw_list(names, draws)
        path.write_bytes(drawn.content)
        codes.add(drawn.code)
        if drawn.num_lines:
            texts = [request.text for request in read_requests(path)]
            assert len(texts) == sum(drawn.num_lines.values())
            unknown = [text for text in texts if text.startswith("no source")]
            assert len(unknown) == drawn.num_lines["unknown"]
            duplicates += drawn.num_lines["duplicate"]
        else:
            with pytest.raises(InputError):
                read_requests(path)
    assert codes == {0, 3, 4}
    assert duplicates > 0
