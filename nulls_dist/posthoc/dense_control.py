"""A dense checkpoint of this project as a model that can unlearn."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.config.schema import ModelConfig
from nulls_dist.errors import InputError
from nulls_dist.eval.inference import loaded_model
from nulls_dist.routing.plan import build_plan
from nulls_dist.routing.router import Router
from nulls_dist.segments import SegmentLayout
from nulls_dist.sources import NO_SOURCE


class DenseControl(nn.Module):
    """The trained model itself, asked for (B, T) tokens at a time.

    Layers are called "gpt.decoder.layers.0" and so on.
    """

    def __init__(
        self, gpt: nn.Module, config: ModelConfig, router: Router, device: torch.device
    ) -> None:
        super().__init__()
        self.gpt = gpt
        self._config = config
        self._router = router
        self._device = device

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return (B, T, V) logits of (B, T) tokens; every row is a document of its own."""
        from nulls_dist.model.gpt import token_logits
        from nulls_dist.model.packed import pack_rows

        num_rows, width = input_ids.shape
        layout = SegmentLayout(
            lengths=(width,) * num_rows,
            source_ids=np.full(num_rows, NO_SOURCE, dtype=np.uint64),
            doc_indices=np.zeros(num_rows, dtype=np.uint32),
        )
        rows = pack_rows(
            layout,
            build_plan(self._router, layout, local_experts=range(self._config.num_experts)),
            head_dim=self._config.head_dim,
            rope_theta=self._config.rope_theta,
            device=self._device,
        )
        # (B T, V): rows lie one after the other
        logits = token_logits(self.gpt, input_ids.flatten(), rows)
        return logits.reshape(num_rows, width, -1)


@contextmanager
def load_dense_control(root: Path) -> Iterator[DenseControl]:
    """Load a checkpoint without sinks in float32 for the duration of a block.

    Args:
        root: directory of the checkpoint.

    Raises:
        InputError: `root` is not a checkpoint, or its model has sinks.
        IntegrityError: it is damaged.
    """
    checkpoint = Checkpoint(root)
    check_dense(checkpoint)
    with loaded_model(checkpoint) as (gpt, device):
        router = checkpoint.manifest.build_router()
        yield DenseControl(gpt, model_of(checkpoint), router, device)


def check_dense(checkpoint: Checkpoint) -> None:
    """Refuse a model with sinks.

    Raises:
        InputError: it has some.
    """
    if model_of(checkpoint).has_sinks:
        raise InputError(
            f"{checkpoint.root} has sinks: delete its sources by tools/strip_sources.py; for a "
            "comparison with post-hoc methods load a model without sinks, or what "
            "tools/convert_to_hf.py --form merged makes of this one"
        )
