"""Speed of one MLP with sinks against dense-and-mask and two other sparse ways.

T tokens, S segments, K active sinks, D model dim, G backbone neurons, P sinks.

All variants run in one process on one thread, interleaved, and are checked against dense-and-mask
before they are timed. The bound of any of them is (G + P) / (G + K): dense work over sparse work.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nulls_dist.benchmark.dense_and_mask import dense_and_mask
from nulls_dist.config.presets import nulls_1b
from nulls_dist.model.sink_pool import SinkPool
from nulls_dist.parallel.topology import Topology
from nulls_dist.routing.plan import SinkPlan
from nulls_dist.routing.router import choose_sinks

_NUM_SINKS: Final = 7680
_SHORTEST: Final = 16
DOCUMENTS: Final = {"articles": (600.0, 1.2), "stubs": (70.0, 0.5)}
"""Mean and log-sigma of document lengths in tokens; articles are like Wikipedia's."""
_TOLERANCE: Final = {torch.float32: 1e-4, torch.bfloat16: 2e-2}

Variant = Callable[["_Case", Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class _Case:
    """One microbatch and one layer's weights in one dtype."""

    backbone: tuple[Tensor, ...]
    """Gate, up and down, each (G, D)."""
    pool: SinkPool
    dense: tuple[Tensor, ...]
    """The same weights in one bank: gate, up and down, each (G + P, D)."""
    plan: SinkPlan
    lengths: list[int]
    mask: Tensor
    """(T, G + P)."""

    @property
    def sinks(self) -> tuple[Tensor, ...]:
        """Gate, up and down of the pool, each (P, D)."""
        return self.pool.gate, self.pool.up, self.pool.down


def measure_sinks(
    *, num_tokens: int, documents: str, dtype: torch.dtype, repeats: int, seed: int = 0
) -> dict[str, Any]:
    """Time forward and backward of every variant.

    Args:
        num_tokens: T.
        documents: their lengths, a key of `DOCUMENTS`.
        dtype: of weights and activations.
        repeats: timed rounds; the median is reported.
        seed: of weights and document lengths.

    Returns:
        For every variant milliseconds, speed-up over dense-and-mask, MiB kept for backward and
        the relative error against dense-and-mask; beside them the bound and the shape.
    """
    case = _build_case(num_tokens, documents, dtype, seed)
    width = case.pool.gate.size(1)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_tokens, width, generator=generator).to(dtype).requires_grad_()
    upstream = torch.randn(num_tokens, width, generator=generator).to(dtype)
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    reference = [result.float() for result in _results(_dense, case, x, upstream)]
    errors = {
        name: _error(_results(variant, case, x, upstream), reference)
        for name, variant in VARIANTS.items()
    }
    for name, error in errors.items():
        assert error < _TOLERANCE[dtype], f"{name} differs from dense-and-mask by {error}"
    for _ in range(repeats):
        for name, variant in VARIANTS.items():
            started = time.perf_counter()
            _run(variant, case, x, upstream)
            times[name].append(time.perf_counter() - started)
    median = {name: statistics.median(values) for name, values in times.items()}
    num_backbone = len(case.backbone[0])
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "tokens": num_tokens,
        "documents": documents,
        "segments": len(case.lengths),
        "bound": (num_backbone + _NUM_SINKS) / (num_backbone + case.plan.num_active),
        "variants": {
            name: {
                "milliseconds": median[name] * 1e3,
                "speedup": median["dense and mask"] / median[name],
                "saved_mib": _saved_bytes(variant, case, x) / 2**20,
                "relative_error": errors[name],
            }
            for name, variant in VARIANTS.items()
        },
    }


def _build_case(num_tokens: int, documents: str, dtype: torch.dtype, seed: int) -> _Case:
    model = replace(nulls_1b().model, num_experts=1, num_sinks=_NUM_SINKS)
    rng = np.random.default_rng(seed)
    lengths = _document_lengths(num_tokens, *DOCUMENTS[documents], rng)
    keys = rng.integers(0, 1 << 63, size=len(lengths), dtype=np.uint64)
    sinks = choose_sinks(keys, num_sinks=_NUM_SINKS, num_active=model.num_active)
    rows = torch.from_numpy(sinks)
    pool = SinkPool(model, Topology(dp=1, ep=1, rank=0, num_experts=1))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in pool.parameters():
            parameter.normal_(std=model.init_std, generator=generator)
    pool = pool.to(dtype)
    shape = (model.num_backbone, model.hidden_size)
    backbone = tuple(
        (torch.randn(shape, generator=generator) * model.init_std).to(dtype).requires_grad_()
        for _ in range(3)
    )
    mask = torch.zeros(num_tokens, model.num_backbone + _NUM_SINKS, dtype=dtype)
    mask[:, : model.num_backbone] = 1
    begin = 0
    for segment, length in enumerate(lengths):
        mask[begin : begin + length, model.num_backbone + rows[segment]] = 1
        begin += length
    plan = SinkPlan(
        rows=rows.reshape(1, -1),
        keep=torch.ones(1, rows.numel(), dtype=torch.bool),
        ends=torch.tensor(lengths).cumsum(0).to(torch.int32),
        num_active=model.num_active,
    )
    banks = zip(backbone, (pool.gate, pool.up, pool.down), strict=True)
    dense = tuple(torch.cat(pair).detach().requires_grad_() for pair in banks)
    return _Case(backbone=backbone, pool=pool, dense=dense, plan=plan, lengths=lengths, mask=mask)


def _document_lengths(
    num_tokens: int, mean_tokens: float, log_sigma: float, rng: np.random.Generator
) -> list[int]:
    """Cut T tokens into documents of lognormal length."""
    location = np.log(mean_tokens) - log_sigma**2 / 2
    lengths: list[int] = []
    while (left := num_tokens - sum(lengths)) > 0:
        drawn = int(np.exp(location + log_sigma * rng.standard_normal()))
        lengths.append(min(max(drawn, _SHORTEST), left))
    return lengths


def _swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (functional.silu(x @ gate.T) * (x @ up.T)) @ down


def _dense(case: _Case, x: Tensor) -> Tensor:
    gate, up, down = case.dense
    return dense_and_mask(x, gate, up, down, case.mask)


def _grouped(case: _Case, x: Tensor) -> Tensor:
    """Run the production path."""
    output: Tensor = _swiglu(x, *case.backbone) + case.pool(x, case.plan, 0)
    return output


def _gather(case: _Case) -> list[Tensor]:
    shape = (-1, case.plan.num_active, case.pool.gate.size(1))
    return [weight.index_select(0, case.plan.rows[0]).view(shape) for weight in case.sinks]


def _segment_loop(case: _Case, x: Tensor) -> Tensor:
    gate, up, down = _gather(case)
    outputs = [
        _swiglu(tokens, gate[segment], up[segment], down[segment])
        for segment, tokens in enumerate(torch.split(x, case.lengths))
    ]
    return _swiglu(x, *case.backbone) + torch.cat(outputs)


def _padded_bmm(case: _Case, x: Tensor) -> Tensor:
    gate, up, down = _gather(case)
    longest = max(case.lengths)
    places = torch.cat(
        [torch.arange(n) + segment * longest for segment, n in enumerate(case.lengths)]
    )
    padded = x.new_zeros(len(case.lengths) * longest, x.size(1)).index_copy(0, places, x)
    padded = padded.view(len(case.lengths), longest, -1)
    hidden = functional.silu(padded @ gate.transpose(1, 2)) * (padded @ up.transpose(1, 2))
    return _swiglu(x, *case.backbone) + (hidden @ down).flatten(0, 1).index_select(0, places)


VARIANTS: Final[dict[str, Variant]] = {
    "dense and mask": _dense,
    "grouped_mm (production)": _grouped,
    "loop over segments": _segment_loop,
    "padded bmm": _padded_bmm,
}


def _run(variant: Variant, case: _Case, x: Tensor, upstream: Tensor) -> Tensor:
    """Run forward and backward from clean gradients: what is timed."""
    for leaf in (x, *case.backbone, *case.sinks, *case.dense):
        leaf.grad = None
    output = variant(case, x)
    output.backward(upstream)  # type: ignore[no-untyped-call]
    return output.detach()


def _results(variant: Variant, case: _Case, x: Tensor, upstream: Tensor) -> list[Tensor]:
    """Return output, input gradient and the gradients of gate, up and down of the whole bank."""
    output = _run(variant, case, x, upstream)
    if variant is _dense:
        grads = [_gradient_of(leaf) for leaf in case.dense]
    else:
        pairs = zip(case.backbone, case.sinks, strict=True)
        grads = [torch.cat([_gradient_of(leaf) for leaf in pair]) for pair in pairs]
    return [output, _gradient_of(x), *grads]


def _gradient_of(leaf: Tensor) -> Tensor:
    """Return a leaf's gradient, which the last backward pass has set."""
    assert leaf.grad is not None
    return leaf.grad


def _error(found: list[Tensor], reference: list[Tensor]) -> float:
    return max(
        float((mine.float() - theirs).norm() / theirs.norm())
        for mine, theirs in zip(found, reference, strict=True)
    )


def _saved_bytes(variant: Variant, case: _Case, x: Tensor) -> int:
    """Return the memory kept for the backward pass, parameters and inputs of the case left out."""
    known = {
        leaf.untyped_storage().data_ptr()
        for leaf in (x, case.mask, *case.backbone, *case.sinks, *case.dense)
    }
    sizes: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        output = variant(case, x)
    del output
    return sum(sizes.values())
