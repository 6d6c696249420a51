"""Uneven all-to-all of rows, with gradients; the same call on every backend."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _ExchangeRows(torch.autograd.Function):
    """Rows go to other ranks, their gradients come back. Nothing is kept but the counts."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        sent: tuple[int, ...],
        received: tuple[int, ...],
        group: dist.ProcessGroup,
    ) -> Tensor:
        ctx.sent, ctx.received, ctx.group = sent, received, group
        arrived = rows.new_empty(sum(received), *rows.shape[1:])
        dist.all_to_all_single(arrived, rows.contiguous(), list(received), list(sent), group=group)
        return arrived

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = grads
        return exchange_rows(grad, ctx.received, ctx.sent, ctx.group), None, None, None


def exchange_rows(
    rows: Tensor, sent: tuple[int, ...], received: tuple[int, ...], group: dist.ProcessGroup
) -> Tensor:
    """Send each rank of a group its rows; return the rows that they sent here.

    Every rank of the group must call this, and the backward pass of what it returns, also when it
    has nothing to send or to receive.

    Args:
        rows: (sum of `sent`, ...) rows for the first rank, then for the second, and so on.
        sent: rows for each rank of the group, in its order.
        received: rows from each of them; what they have in `sent` for this rank.
        group: the ranks.

    Returns:
        (sum of `received`, ...) rows of the first rank, then of the second, and so on.
    """
    arrived: Tensor = _ExchangeRows.apply(rows, sent, received, group)  # type: ignore[no-untyped-call]
    return arrived
