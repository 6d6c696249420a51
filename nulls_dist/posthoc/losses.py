"""Losses of unlearning: pure functions of logits, likelihoods and activations.

B sequences, T tokens, V vocabulary, D model dim. Labels are (B, T), not shifted, IGNORED where a
token does not count; prompts and padding never do, although some published code averages over them.
All sums are float32. What "verified" means stands in the package's docstring.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nulls_dist.posthoc.batches import IGNORED


def sequence_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the negative log-likelihood of each sequence: (B, T, V), (B, T) -> (B,) nats."""
    targets = labels[:, 1:]
    losses = functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
    )
    return losses.sum(1)


def num_counted(labels: Tensor) -> Tensor:
    """Return how many tokens of each sequence count: (B, T) -> (B,)."""
    return (labels[:, 1:] != IGNORED).sum(1)


def mean_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the negative log-likelihood per token, the mean over all that count: () nats."""
    return sequence_nll(logits, labels).sum() / num_counted(labels).sum()


def ascent(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of gradient ascent, -NLL per token: () nats, without a lower bound.

    Source: knowledge unlearning (arXiv 2210.01504); verified in code: open-unlearning GradAscent.
    """
    return -mean_nll(logits, labels)


def ascent_per_text(logits: Tensor, labels: Tensor) -> Tensor:
    """Return minus the mean over texts of their NLL per token: () nats, without a lower bound.

    Unlike in `ascent` a long text weighs no more than a short one.

    Source: selective gradient ascent (arXiv 2405.03097); unverified.
    """
    return -(sequence_nll(logits, labels) / num_counted(labels)).mean()


def kl_from_reference(logits: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    """Return KL(p_reference || p), the mean over the predictions of tokens that count: () nats.

    Source: TOFU's KL minimisation (arXiv 2401.06121); direction verified in code: open-unlearning
    compute_kl_divergence, which averages over prompts and padding as well. MUSE passes raw logits
    to kl_div, which is no divergence.

    Args:
        logits: (B, T, V).
        reference: (B, T, V), without gradients.
        labels: (B, T).
    """
    counted = labels[:, 1:] != IGNORED
    log_p = torch.log_softmax(logits[:, :-1][counted].float(), -1)
    log_q = torch.log_softmax(reference[:, :-1][counted].float(), -1)
    return functional.kl_div(log_p, log_q, reduction="batchmean", log_target=True)


def npo(nll: Tensor, reference_nll: Tensor, *, beta: float) -> Tensor:
    """Return the loss of negative preference optimisation: ().

    -(2/beta) mean_i log sigmoid(beta (NLL_i - NLL0_i)), where NLL is summed over a sequence: at
    the reference model its gradient is that of the sum of -NLL, and it fades as NLL grows.

    Source: arXiv 2404.05868; verified in code: open-unlearning compute_dpo_loss. MUSE's version
    compares logits instead of likelihoods and is another function.

    Args:
        nll: (B,) nats per sequence.
        reference_nll: (B,) of the reference model.
        beta: inverse temperature; towards 0 the loss becomes that of ascent.
    """
    return -2 / beta * functional.logsigmoid(beta * (nll - reference_nll)).mean()


def simnpo(nll_per_token: Tensor, *, beta: float, delta: float) -> Tensor:
    """Return the loss of SimNPO: ().

    -(2/beta) mean_i log sigmoid(beta (NLL_i / T_i - delta)): no reference model, likelihoods per
    token.

    Source: arXiv 2410.07163; verified in code: open-unlearning SimNPO.

    Args:
        nll_per_token: (B,) nats per token of each sequence.
        beta: inverse temperature.
        delta: margin in nats per token, subtracted as in that code.
    """
    return -2 / beta * functional.logsigmoid(beta * (nll_per_token - delta)).mean()


def preference(preferred_gain: Tensor, rejected_gain: Tensor, *, beta: float) -> Tensor:
    """Return the loss of preferring one answer to another: ().

    -(2/beta) mean_i log sigmoid(beta (gain of the preferred - gain of the rejected)), a gain being
    log p - log p0 of the whole answer.

    Source: DPO (arXiv 2305.18290); factor 2/beta as in open-unlearning compute_dpo_loss, verified
    in code. TOFU's own branch has no such factor and cannot run.

    Args:
        preferred_gain: (B,) nats.
        rejected_gain: (B,) nats.
        beta: inverse temperature.
    """
    return -2 / beta * functional.logsigmoid(beta * (preferred_gain - rejected_gain)).mean()


def undial(logits: Tensor, teacher: Tensor, labels: Tensor, *, beta: float) -> Tensor:
    """Return the loss of self-distillation on lowered logits: () nats.

    Cross-entropy to softmax(teacher - beta onehot(token)), the mean over tokens that count.

    Source: UNDIAL (arXiv 2402.10052); verified in code: open-unlearning compute_undial_loss, which
    also averages over prompts and padding, where the label -100 hits class V - 100.

    Args:
        logits: (B, T, V).
        teacher: (B, T, V) of the reference model.
        labels: (B, T).
        beta: what the true token's logit is lowered by.
    """
    targets = labels[:, 1:]
    counted = targets != IGNORED
    true_token = functional.one_hot(targets[counted], logits.size(-1))
    goal = torch.softmax(teacher[:, :-1][counted].float() - beta * true_token, -1)
    loss: Tensor = functional.cross_entropy(logits[:, :-1][counted].float(), goal)
    return loss


def control_vector(width: int, *, scale: float, draws: np.random.Generator) -> Tensor:
    """Return scale times a random direction with coordinates in [0, 1): (D,) float32.

    Source: RMU (arXiv 2403.03218); verified in code: open-unlearning get_control_vector. All
    coordinates are positive there, too: the cube's corner, not the sphere.
    """
    direction = torch.from_numpy(draws.random(width, dtype=np.float32))
    vector: Tensor = scale * direction / direction.norm()
    return vector


def activation_distance(activations: Tensor, goal: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared difference at tokens that count: ().

    Over the features, then over the tokens of a sequence, then over sequences.

    Source: RMU (arXiv 2403.03218); verified in code: open-unlearning compute_activation_loss.

    Args:
        activations: (B, T, D).
        goal: (B, T, D), or (D,) for all.
        labels: (B, T).
    """
    counted = labels != IGNORED
    squared = (activations.float() - goal.float()).square().mean(-1)
    return ((squared * counted).sum(1) / counted.sum(1)).mean()


def logit_difference(logits: Tensor, reinforced: Tensor, *, strength: float) -> Tensor:
    """Return logits that avoid what a reinforced model likes better: logits - a relu(r - logits).

    Source: Who's Harry Potter (arXiv 2310.02238), which trains on texts made this way; at inference
    it is a baseline of MUSE, verified in code: muse_bench.

    Args:
        logits: (..., V) of the model.
        reinforced: (..., V) of one that was trained on the text to forget.
        strength: a, at least 0.
    """
    return logits - strength * functional.relu(reinforced - logits)


def negate_task(start: Tensor, tuned: Tensor, *, strength: float) -> Tensor:
    """Return start - a (tuned - start), computed in float32, in the type of start.

    Source: task arithmetic (arXiv 2212.04089); over an overfit model it is a baseline of MUSE,
    verified in code: muse_bench. In bfloat16 the subtraction would lose small differences.

    Args:
        start: a tensor of the model.
        tuned: of the model fine-tuned on the text to forget.
        strength: a; 0 gives start, bit for bit.
    """
    if strength == 0:
        return start.clone()
    moved = start.float() - strength * (tuned.float() - start.float())
    return moved.to(start.dtype)
