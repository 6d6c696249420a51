"""A checkpoint as a model that answers, on one process, with any source's sinks or none."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.config.environment import ALONE
from nulls_dist.config.schema import ModelConfig
from nulls_dist.data.batches import next_tokens
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.parallel.groups import model_parallel, process_group
from nulls_dist.parallel.topology import Topology
from nulls_dist.routing.plan import SinkPlan, build_plan, plan_whole_pool
from nulls_dist.routing.router import Router
from nulls_dist.routing.sink_sets import SinkMask, sinks_of
from nulls_dist.segments import SegmentLayout
from nulls_dist.sources import NO_SOURCE

WeightChange = Callable[[str, Tensor], Tensor | None]
"""Name and values of a parameter -> its new values, of the same shape; None to leave it alone."""


class InferenceModel:
    """A loaded model.

    Attributes:
        config: the model's configuration.
        router: looks up sinks; refuses sources with a tombstone.
    """

    def __init__(
        self, model: Any, config: ModelConfig, router: Router, device: torch.device
    ) -> None:
        self._model = model
        self._device = device
        self.config = config
        self.router = router

    def logits(
        self,
        texts: Sequence[Sequence[int]],
        source_ids: Sequence[int],
        *,
        excluded: Collection[int] = (),
        backbone_gain: float = 1.0,
    ) -> list[Tensor]:
        """Return next-token logits of several texts, each served by one source's sinks.

        Args:
            texts: tokens of each text, at least one; they do not see each other.
            source_ids: whose sinks serve each text; NO_SOURCE for the backbone alone.
            excluded: sources whose sinks are off, also where a text's own source shares them.
            backbone_gain: what the backbone neurons' output is multiplied by. Released models are
                asked without sinks with the gain that their router's specification names.

        Returns:
            (tokens, vocab_size) per text, on the CPU.

        Raises:
            RefusedError: a source was deleted.
        """
        layout = _layout_of(texts, source_ids)
        plan = build_plan(
            self.router,
            layout,
            local_experts=range(self.config.num_experts),
            excluded=self._sinks_of(excluded),
        )
        return self._run(texts, layout, plan, backbone=backbone_gain)

    def union_logits(
        self,
        texts: Sequence[Sequence[int]],
        source_ids: Sequence[int],
        *,
        excluded: Collection[int] = (),
    ) -> list[Tensor]:
        """Return next-token logits of several texts, all served by the sinks of all of the sources.

        Args:
            texts: tokens of each text, at least one; they do not see each other.
            source_ids: at least one; a sink of two sources serves once.
            excluded: sources whose sinks are off, also where one of the others shares them.

        Returns:
            (tokens, vocab_size) per text, on the CPU.

        Raises:
            RefusedError: a source was deleted.
        """
        layout = _layout_of(texts, [NO_SOURCE] * len(texts))
        chosen = self._sinks_of(source_ids)
        assert chosen is not None, "at least one source"
        barred = self._sinks_of(excluded)
        is_off = ~chosen if barred is None else ~chosen | barred
        plan = plan_whole_pool(self.router.spec, layout.num_tokens, is_off)
        return self._run(texts, layout, plan)

    def logits_of_all_sinks(
        self,
        texts: Sequence[Sequence[int]],
        *,
        sink_gain: float,
        excluded: Collection[int] = (),
    ) -> list[Tensor]:
        """Return next-token logits with every sink of every source on, each a little.

        Args:
            texts: tokens of each text, at least one; they do not see each other.
            sink_gain: what every sink's output is multiplied by: the share of the sinks that one
                source has, so that all of them together are as loud as its own.
            excluded: sources whose sinks are off.

        Returns:
            (tokens, vocab_size) per text, on the CPU.

        Raises:
            RefusedError: a source was deleted.
        """
        layout = _layout_of(texts, [NO_SOURCE] * len(texts))
        plan = plan_whole_pool(self.router.spec, layout.num_tokens, self._sinks_of(excluded))
        return self._run(texts, layout, plan, sinks=sink_gain)

    def token_gradient(
        self, text: Sequence[int], source_id: int, loss: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return how a loss would change if a token were replaced a little by another one.

        Args:
            text: tokens, at least one.
            source_id: whose sinks serve it; NO_SOURCE for the backbone alone.
            loss: of the next-token logits (tokens, vocab_size), on the model's device.

        Returns:
            (tokens, vocab_size) gradient by the one-hot rows of the text's tokens, on the CPU.

        Raises:
            RefusedError: the source was deleted.
        """
        from nulls_dist.model.gpt import embeddings_of, logits_of_embeddings

        layout = _layout_of([text], [source_id])
        plan = build_plan(self.router, layout, local_experts=range(self.config.num_experts))
        table = embeddings_of(self._model)
        inputs = table[torch.tensor(text, device=self._device)].requires_grad_()
        with torch.enable_grad():
            logits = logits_of_embeddings(self._model, inputs, self._rows(layout, plan))
            (gradient,) = torch.autograd.grad(loss(logits), inputs)
        return (gradient @ table.T).cpu()

    def loss(self, texts: Sequence[Sequence[int]], source_ids: Sequence[int]) -> Tensor:
        """Return the mean loss per target of several texts, as training takes it.

        Args:
            texts: tokens of each text, at least two; they do not see each other.
            source_ids: whose sinks serve each text; NO_SOURCE for the backbone alone.

        Returns:
            () nats on the model's device, to be differentiated by `weights`.

        Raises:
            RefusedError: a source was deleted.
        """
        from nulls_dist.model.gpt import loss_sum

        layout = _layout_of(texts, source_ids)
        plan = build_plan(self.router, layout, local_experts=range(self.config.num_experts))
        tokens = np.array([token for text in texts for token in text], dtype=np.int64)
        has_target = torch.from_numpy(layout.has_target).to(torch.float32)
        total = loss_sum(
            self._model,
            torch.from_numpy(tokens).to(self._device),
            torch.from_numpy(next_tokens(tokens, layout)).to(self._device),
            has_target.to(self._device),
            self._rows(layout, plan),
        )
        return total / float(has_target.sum())

    def weights(self) -> dict[str, nn.Parameter]:
        """Return all parameters by name, to be changed in place.

        Those of sinks hold all experts, one after another: (num_experts * num_sinks, hidden_size).
        """
        return dict(self._model.named_parameters())

    def _sinks_of(self, source_ids: Collection[int]) -> SinkMask | None:
        if not source_ids:
            return None
        return sinks_of(self.router, np.array(sorted(source_ids), dtype=np.uint64))

    @torch.no_grad()
    def round_weights(self, dtype: torch.dtype) -> None:
        """Round all weights to a type of fewer bits; they stay float32."""
        for parameter in self._model.parameters():
            parameter.copy_(parameter.to(dtype))

    @contextmanager
    def changed_weights(self, change: WeightChange) -> Iterator[None]:
        """Answer with other weights for the duration of a block.

        Args:
            change: what becomes of each parameter. Those that change are kept twice meanwhile.
        """
        kept: dict[str, Tensor] = {}
        try:
            for name, parameter in self._model.named_parameters():
                values = change(name, parameter.detach())
                if values is not None:
                    kept[name] = parameter.detach().clone()
                    parameter.data.copy_(values)
            yield
        finally:
            for name, values in kept.items():
                self._model.get_parameter(name).data.copy_(values)

    @torch.no_grad()
    def _run(
        self,
        texts: Sequence[Sequence[int]],
        layout: SegmentLayout,
        plan: SinkPlan,
        **gains: float,
    ) -> list[Tensor]:
        from nulls_dist.model.gpt import token_logits

        tokens = torch.tensor([token for text in texts for token in text], device=self._device)
        logits = token_logits(self._model, tokens, self._rows(layout, plan, **gains))
        return list(torch.split(logits.cpu(), list(layout.lengths)))

    def _rows(self, layout: SegmentLayout, plan: SinkPlan, **gains: float) -> object:
        from nulls_dist.model.packed import Gains, pack_rows

        return pack_rows(
            layout,
            plan,
            head_dim=self.config.head_dim,
            rope_theta=self.config.rope_theta,
            device=self._device,
            gains=Gains(**gains),
        )


def _layout_of(texts: Sequence[Sequence[int]], source_ids: Sequence[int]) -> SegmentLayout:
    return SegmentLayout(
        lengths=tuple(len(text) for text in texts),
        source_ids=np.array(source_ids, dtype=np.uint64),
        doc_indices=np.zeros(len(texts), dtype=np.uint32),
    )


@contextmanager
def load_for_inference(root: Path, *, route_deleted: bool = False) -> Iterator[InferenceModel]:
    """Load a checkpoint in float32, with all its experts, for the duration of a block.

    Args:
        root: directory of the checkpoint.
        route_deleted: ignore tombstones, as someone who holds the weights can; for measuring what
            a deletion left behind.

    Raises:
        InputError: `root` is not a checkpoint.
        IntegrityError: it is damaged.
    """
    checkpoint = Checkpoint(root)
    with loaded_model(checkpoint) as (model, device):
        manifest = checkpoint.manifest
        router = manifest.build_live_router() if route_deleted else manifest.build_router()
        yield InferenceModel(model, model_of(checkpoint), router, device)


@contextmanager
def loaded_model(checkpoint: Checkpoint) -> Iterator[tuple[Any, torch.device]]:
    """Build a checkpoint's model in float32, with all its experts, for the duration of a block.

    Yields:
        The model in evaluation mode, and the device it is on.

    Raises:
        IntegrityError: the checkpoint is damaged.
    """
    config = model_of(checkpoint)
    accelerator = select_accelerator(ALONE.local_rank)
    topology = Topology(dp=1, ep=1, rank=0, num_experts=config.num_experts)
    with process_group(ALONE, accelerator), model_parallel(topology):
        from nulls_dist.model.gpt import build_model
        from nulls_dist.model.state import load_weights

        model = build_model(config, topology, accelerator.device)
        load_weights(model, checkpoint, topology)
        model.eval()
        yield model, accelerator.device
