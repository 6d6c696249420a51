"""The memory model against a run of the real engine on one process."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nulls_dist.benchmark import memory
from nulls_dist.benchmark.memory import TOLERANCE, format_memory, measure_memory


def check_case(case):
    for kind, measured in case["measured"].items():
        assert case["predicted"][kind] == pytest.approx(measured, rel=TOLERANCE), kind
    assert case["measured"]["sum"] > 0
    assert case["largest_error"] <= TOLERANCE


@pytest.mark.parametrize(("stage", "dtype"), [(1, "fp32"), (2, "bf16")])
def test_a_tiny_engine_holds_what_was_predicted(stage, dtype):
    check_case(measure_memory("tiny", stage=stage, dtype=dtype))


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_larger_engine_holds_what_was_predicted(stage, dtype):
    check_case(measure_memory("32 M", stage=stage, dtype=dtype))


class EveryTensor(TorchDispatchMode):
    """Bytes of all CPU storages that operations return, now and at most."""

    def __init__(self, held):
        super().__init__()
        self.now = self.peak = 0
        self.known = set()
        for tensor in held:
            self.see(tensor)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.device.type == "cpu":
                self.see(value)
        return result

    def see(self, tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())

    def forget(self, place, size):
        self.known.discard(place)
        self.now -= size


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_peak_of_all_tensors_of_a_step_stays_below_the_predicted_one(stage, dtype, monkeypatch):
    """Every tensor counts here, also those of the optimizer's step and of communication."""
    peaks = []
    predicted = []
    real_train, real_count = memory._train_steps, memory.count_rank_memory

    def train(engine, *args):
        masters = [m for group in engine.optimizer.optimizer.param_groups for m in group["params"]]
        buffers = getattr(engine.optimizer, "fp32_groups_gradients_flat", [])
        held = [*engine.module.parameters(), *masters, *buffers]
        with EveryTensor([tensor.detach() for tensor in held]) as every:
            found = real_train(engine, *args)
        peaks.append(every.peak)
        return found

    def count(*args, **kwargs):
        predicted.append(real_count(*args, **kwargs))
        return predicted[-1]

    monkeypatch.setattr(memory, "_train_steps", train)
    monkeypatch.setattr(memory, "count_rank_memory", count)
    monkeypatch.setitem(
        memory.DEFAULT_FILE_CONTENT["zero_optimization"], "reduce_bucket_size", 9_999
    )
    measure_memory("tiny", stage=stage, dtype=dtype)
    assert 0.7 * predicted[0].peak < peaks[0] <= predicted[0].peak


def test_the_table_names_every_case_and_the_verdict():
    case = {
        "size": "tiny",
        "zero_stage": 2,
        "dtype": "bf16",
        "predicted": {"weights": 2_000_000},
        "measured": {"weights": 1_900_000},
        "largest_error": 0.0526,
    }
    text = format_memory({"cases": [case], "within": True, "tolerance": 0.1})
    assert "tiny, ZeRO-2 bf16" in text
    assert "1.90 (    2.00)    5.3%" in text
    assert text.endswith("\nwithin 10%")
    assert "NOT within" in format_memory({"cases": [case], "within": False, "tolerance": 0.1})
