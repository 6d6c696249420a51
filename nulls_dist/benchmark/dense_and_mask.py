"""The released formulation: every neuron on every token, activations masked. Slow and obvious.

It exists here and nowhere else: the oracle of the tests and the peer of the speed benchmark.
T tokens, D model dim, P neurons.
"""

from torch import Tensor
from torch.nn import functional


def dense_and_mask(x: Tensor, gate: Tensor, up: Tensor, down: Tensor, mask: Tensor) -> Tensor:
    """Run a SwiGLU bank on every token and mask what it says.

    Args:
        x: (T, D).
        gate: (P, D), one neuron per row.
        up: (P, D).
        down: (P, D).
        mask: (T, P), 0 or 1.

    Returns:
        (T, D).

    Source: arXiv 2606.13873, released code.
    """
    return (functional.silu(x @ gate.T) * (x @ up.T) * mask) @ down
