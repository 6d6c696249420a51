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


@pytest.fixture
def peaks_of_a_run(monkeypatch):
    """Returns the measured and the predicted peak of a run of the tiny size with other settings."""

    def run(*settings, stage=1, dtype="fp32"):
        found = []
        real_train, real_count = memory._train_steps, memory.count_rank_memory

        def train(engine, *args):
            adam = engine.optimizer.optimizer
            masters = [master for group in adam.param_groups for master in group["params"]]
            buffers = getattr(engine.optimizer, "fp32_groups_gradients_flat", [])
            held = [*engine.module.parameters(), *masters, *buffers]
            with EveryTensor([tensor.detach() for tensor in held]) as every:
                kept = real_train(engine, *args)
            found.append(every.peak)
            return kept

        def count(*args, **kwargs):
            counted = real_count(*args, **kwargs)
            found.append(counted.peak)
            return counted

        preset, overrides = memory.SIZES["tiny"]
        with monkeypatch.context() as patch:
            patch.setattr(memory, "_train_steps", train)
            patch.setattr(memory, "count_rank_memory", count)
            patch.setitem(memory.SIZES, "tiny", (preset, (*overrides, *settings)))
            zero = memory.DEFAULT_FILE_CONTENT["zero_optimization"]
            patch.setitem(zero, "reduce_bucket_size", 9_999)  # small beside the model
            measure_memory("tiny", stage=stage, dtype=dtype)
        measured, predicted = found
        return measured, predicted

    return run


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_peak_of_all_tensors_of_a_step_stays_below_the_predicted_one(
    stage, dtype, peaks_of_a_run
):
    """Every tensor counts here, also those of the optimizer's step and of communication."""
    measured, predicted = peaks_of_a_run(stage=stage, dtype=dtype)
    assert 0.7 * predicted < measured <= predicted


def test_recomputation_lowers_the_peak_as_predicted(peaks_of_a_run):
    deep = ("model.num_layers=6", "model.num_sinks=8", "model.vocab_size=64")
    whole = peaks_of_a_run(*deep)
    recomputed = peaks_of_a_run(*deep, "train.recompute=true")
    assert 0.7 * recomputed[1] < recomputed[0] <= recomputed[1]
    assert recomputed[0] < whole[0] / 2
    assert whole[0] - recomputed[0] == pytest.approx(whole[1] - recomputed[1], rel=0.2)


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
