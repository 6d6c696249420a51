"""The host never waits for the device inside the model.

A tensor on the meta device has a shape and no values: whatever asks for a value, as `.item()`,
`.tolist()` or an output whose shape depends on one do, fails there.
"""

import torch

from nulls_dist.model.gpt import build_model, loss_sum
from nulls_dist.model.packed import pack_rows
from nulls_dist.parallel.topology import Topology
from nulls_dist.routing.plan import build_plan
from tests.small_models import layout_of, random_router, small_config

META = torch.device("meta")


def test_forward_and_backward_ask_for_no_value(topology: Topology) -> None:
    config = small_config()
    # grouped_mm has no float32 rule for the meta device.
    model = build_model(config, topology, META).to(torch.bfloat16)
    layout = layout_of([5, 11, 1], [1, 2, 3])
    rows = pack_rows(
        layout,
        build_plan(random_router(config), layout, local_experts=topology.local_experts),
        head_dim=config.head_dim,
        rope_theta=config.rope_theta,
        device=META,
    )
    tokens = torch.empty(17, dtype=torch.int64, device=META)
    loss = loss_sum(model, tokens, tokens, torch.empty(17, device=META), rows)
    loss.backward()
    assert loss.shape == ()
    assert all(parameter.grad is not None for parameter in model.parameters())
