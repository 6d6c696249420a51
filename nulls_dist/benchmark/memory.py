"""The memory model against a run: tensors that an engine holds, and what autograd keeps."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from nulls_dist.config.deepspeed import DEFAULT_FILE_CONTENT, zero_settings
from nulls_dist.config.environment import ALONE
from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import load_preset
from nulls_dist.config.schema import RunConfig
from nulls_dist.model.counts import count_model
from nulls_dist.model.memory import count_rank_memory
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.parallel.groups import model_parallel, process_group
from nulls_dist.parallel.topology import resolve_topology
from nulls_dist.routing.plan import build_plan
from nulls_dist.routing.router import NUM_BUCKETS, Router
from nulls_dist.segments import SegmentLayout

TOLERANCE: Final = 0.10
_STEPS: Final = 2  # Adam's moments are there from the second step on
_DOCUMENT_TOKENS: Final = 100
_ROWS: Final = ("train.micro_batch_rows=2", "train.global_batch_rows=4", "train.eval_rows=4")
SIZES: Final = {
    "tiny": ("nulls_tiny", ("model.vocab_size=500", *_ROWS)),
    "32 M": (
        "nulls_125m",
        (
            *("model.num_layers=6", "model.hidden_size=512", "model.num_heads=8"),
            *("model.num_experts=2", "model.num_sinks=1024", "model.num_active=32"),
            *("model.vocab_size=8000", "model.context_length=256", *_ROWS),
        ),
    ),
}
"""Name of a size -> preset and overrides."""
_KEPT: Final = ("weights", "gradients", "optimizer")


def bench_memory() -> dict[str, Any]:
    """Compare prediction and measurement for every size, stage and dtype on one process.

    Returns:
        "cases" with bytes predicted and measured, "within" the tolerance or not.
    """
    cases = [
        measure_memory(name, stage=stage, dtype=dtype)
        for name in SIZES
        for stage in (1, 2)
        for dtype in ("fp32", "bf16")
    ]
    return {
        "tolerance": TOLERANCE,
        "within": all(case["largest_error"] <= TOLERANCE for case in cases),
        "cases": cases,
    }


def measure_memory(size: str, *, stage: int, dtype: str) -> dict[str, Any]:
    """Train two steps of two microbatches and compare the bytes of the second with the model's.

    Args:
        size: a key of `SIZES`.
        stage: of ZeRO.
        dtype: fp32 or bf16.

    Returns:
        "predicted" and "measured" bytes by kind, their "largest_error" as a share; beside them the
        case.
    """
    preset, overrides = SIZES[size]
    config = apply_overrides(load_preset(preset), [*overrides, f"train.dtype={dtype}"])
    zero = DEFAULT_FILE_CONTENT["zero_optimization"] | {"stage": stage}
    file_content = {"zero_optimization": zero}
    layout = _documents(config)
    measured = _train(config, file_content, layout)
    memory = count_rank_memory(
        config,
        resolve_topology(config, world_size=1, rank=0),
        zero_settings(file_content),
        num_segments=layout.num_segments,
        on_gpu=False,
        recompute=config.train.recompute,
    )
    predicted = {name: getattr(memory, name) for name in _KEPT}
    predicted["saved"] = memory.activations
    for sizes in (predicted, measured):
        sizes["sum"] = sum(sizes.values())
    errors = [abs(predicted[name] / measured[name] - 1) for name in measured]
    return {
        "size": size,
        "parameters": count_model(config.model).parameters,
        "tokens": layout.num_tokens,
        "zero_stage": stage,
        "dtype": dtype,
        "predicted": predicted,
        "measured": measured,
        "largest_error": max(errors),
    }


def _documents(config: RunConfig) -> SegmentLayout:
    """Return the segments of a microbatch: documents of one length, cut where a row ends."""
    context = config.model.context_length
    row = [min(_DOCUMENT_TOKENS, context - at) for at in range(0, context, _DOCUMENT_TOKENS)]
    lengths = row * config.train.micro_batch_rows
    return SegmentLayout(
        lengths=tuple(lengths),
        source_ids=np.arange(len(lengths), dtype=np.uint64),
        doc_indices=np.zeros(len(lengths), dtype=np.uint32),
    )


def _train(
    config: RunConfig, file_content: dict[str, Any], layout: SegmentLayout
) -> dict[str, int]:
    accelerator = select_accelerator(ALONE.local_rank)
    topology = resolve_topology(config, world_size=1, rank=0)
    with process_group(ALONE, accelerator), model_parallel(topology) as groups:
        # Megatron and DeepSpeed are imported after the accelerator is chosen.
        from nulls_dist.model.gpt import build_model, initialize
        from nulls_dist.train.engine import build_engine

        model = build_model(
            config.model, topology, accelerator.device, recompute=config.train.recompute
        )
        initialize(model, config.model, topology, config.seed)
        engine = build_engine(model, config, groups, file_content)
        return _train_steps(engine, config, layout)


def _train_steps(engine: Any, config: RunConfig, layout: SegmentLayout) -> dict[str, int]:
    accumulation = config.train.global_batch_rows // config.train.micro_batch_rows
    found: dict[str, int] = {}
    for _ in range(_STEPS):
        with saved_bytes(engine.module.parameters()) as saved:
            for _ in range(accumulation):
                _backward(engine, config, layout)
                found = _held_bytes(engine)
                engine.step()
    return {**found, "saved": saved.peak}


def _backward(engine: Any, config: RunConfig, layout: SegmentLayout) -> None:
    from nulls_dist.model.gpt import loss_sum
    from nulls_dist.model.packed import pack_rows
    from nulls_dist.train.run import router_spec

    model, device = config.model, engine.device
    router = Router(router_spec(model, 0), np.zeros(NUM_BUCKETS, dtype=np.uint16))
    plan = build_plan(router, layout, local_experts=range(model.num_experts))
    rows = pack_rows(
        layout, plan, head_dim=model.head_dim, rope_theta=model.rope_theta, device=device
    )
    tokens = torch.arange(layout.num_tokens, device=device) % model.vocab_size
    everywhere = torch.ones(layout.num_tokens, device=device)
    loss = loss_sum(engine, tokens, tokens.roll(-1), everywhere, rows)
    engine.backward(loss / layout.num_tokens)


class SavedBytes:
    """Unique storages that autograd keeps, now and at most."""

    def __init__(self, ignored: Iterable[Tensor]) -> None:
        self.peak = 0
        self._now = 0
        self._users: dict[int, int] = {}
        self._ignored = {_place(tensor) for tensor in ignored}

    def enter(self, tensor: Tensor) -> None:
        """Count a tensor that autograd takes."""
        place = _place(tensor)
        if place in self._ignored:
            return
        self._users[place] = self._users.get(place, 0) + 1
        if self._users[place] == 1:
            self._now += tensor.untyped_storage().nbytes()
            self.peak = max(self.peak, self._now)

    def leave(self, tensor: Tensor) -> None:
        """Count a tensor that autograd lets go."""
        place = _place(tensor)
        if place in self._ignored:
            return
        self._users[place] -= 1
        if not self._users[place]:
            del self._users[place]
            self._now -= tensor.untyped_storage().nbytes()


class _Kept:
    """A tensor in autograd's hands; its end is autograd's letting go."""

    def __init__(self, tensor: Tensor, saved: SavedBytes) -> None:
        self.tensor = tensor
        self._saved = saved
        saved.enter(tensor)

    def __del__(self) -> None:
        self._saved.leave(self.tensor)


@contextmanager
def saved_bytes(ignored: Iterable[Tensor]) -> Iterator[SavedBytes]:
    """Count what autograd keeps for backward passes inside the block, parameters left out."""
    saved = SavedBytes(ignored)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: _Kept(tensor, saved), lambda kept: kept.tensor
    ):
        yield saved


def _held_bytes(engine: Any) -> dict[str, int]:
    """Return the bytes of an engine's tensors; what is no weight and no state is a gradient."""
    parameters = list(engine.module.parameters())
    adam = engine.optimizer.optimizer
    masters = [master for group in adam.param_groups for master in group["params"]]
    weights = _storages(parameters)
    optimizer = _storages([*masters, *_tensors_in(dict(adam.state))])
    everything = _storages(
        [*_tensors_in(vars(engine.optimizer)), *_tensors_in([one.__dict__ for one in parameters])]
        + [one.grad for one in (*parameters, *masters) if one.grad is not None]
    )
    known = weights | optimizer
    gradients = {place: size for place, size in everything.items() if place not in known}
    kinds = zip(_KEPT, (weights, gradients, optimizer), strict=True)
    return {name: sum(sizes.values()) for name, sizes in kinds}


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested containers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors_in(item)


def _storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    return {
        _place(tensor): tensor.untyped_storage().nbytes()
        for tensor in tensors
        if not tensor.is_meta
    }


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def format_memory(result: dict[str, Any]) -> str:
    """Return the figures as a table for a terminal."""
    kinds = list(result["cases"][0]["measured"])
    lines = [
        "MB measured on one process (predicted), the second step:",
        f"{'':<18}" + "".join(f"{kind:>22}" for kind in kinds) + f"{'error':>8}",
    ]
    for case in result["cases"]:
        cells = "".join(
            f"{case['measured'][kind] / 1e6:>11.2f} ({case['predicted'][kind] / 1e6:>8.2f})"
            for kind in kinds
        )
        name = f"{case['size']}, ZeRO-{case['zero_stage']} {case['dtype']}"
        lines.append(f"{name:<18}{cells}{case['largest_error']:>8.1%}")
    verdict = "within" if result["within"] else "NOT within"
    lines.append(f"{verdict} {result['tolerance']:.0%}")
    return "\n".join(lines)
