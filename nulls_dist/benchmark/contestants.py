"""What trains in the speed benchmark: this project and the models it is compared with.

T tokens, S segments, K active sinks, D model dim, G backbone neurons, P sinks.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nulls_dist.benchmark.dense_and_mask import dense_and_mask
from nulls_dist.benchmark.stopwatch import Stopwatch, TimedEngine
from nulls_dist.config.schema import ModelConfig, OptimConfig
from nulls_dist.model.gpt import build_model, initialize, loss_sum
from nulls_dist.model.layer import SinkMLP
from nulls_dist.model.packed import PackedRows
from nulls_dist.train.inputs import DeviceBatch, HostBatch, to_device
from nulls_dist.train.requests import Requests
from nulls_dist.train.run import Run
from nulls_dist.train.step import train_step


class Contestant(Protocol):
    """Takes optimizer steps."""

    def step(self, batches: list[HostBatch], watch: Stopwatch) -> float:
        """Take one step; return its loss."""


class Ours:
    """The production path: DeepSpeed's engine and the loop's own step."""

    def __init__(self, run: Run, engine: Any) -> None:
        self._run = run
        self._engine = engine

    def step(self, batches: list[HostBatch], watch: Stopwatch) -> float:
        """Take one step; return its loss."""
        result = train_step(
            self._run,
            TimedEngine(self._engine, watch),
            batches,
            learning_rate=self._run.config.optim.lr,
            requests=Requests(),
        )
        return result.loss_nats


class Peer:
    """A model trained by plain torch, with the same optimizer in one pass and the same clipping."""

    def __init__(
        self,
        run: Run,
        model: nn.Module,
        loss: Callable[[nn.Module, DeviceBatch], Tensor],
        device: torch.device,
    ) -> None:
        """Take over a model.

        Args:
            run: gives the optimizer's settings.
            model: on the device, in the dtype it trains in.
            loss: sum over the targets of a microbatch.
            device: where it trains.
        """
        self._run = run
        self._model = model
        self._loss = loss
        self._device = device
        optim = run.config.optim
        self._optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=optim.lr,
            betas=(optim.beta1, optim.beta2),
            eps=optim.eps,
            weight_decay=optim.weight_decay,
            fused=True,
        )

    def step(self, batches: list[HostBatch], watch: Stopwatch) -> float:
        """Take one step; return its loss."""
        num_targets = sum(batch.microbatch.num_targets for batch in batches)
        total = torch.zeros((), device=self._device)
        for batch in batches:
            inputs = to_device(self._run, batch, self._device)
            with watch.part("forward"):
                loss = self._loss(self._model, inputs) / num_targets
            with watch.part("backward"):
                torch.autograd.backward(loss)
            total += loss.detach()
        with watch.part("optimizer"):
            _clip(self._model, self._run.config.optim)
            self._optimizer.step()
            self._optimizer.zero_grad()
        return float(total)


def _clip(model: nn.Module, optim: OptimConfig) -> None:
    if optim.grad_clip:
        nn.utils.clip_grad_norm_(model.parameters(), optim.grad_clip)


class DenseMaskMLP(nn.Module):
    """The MLP of the released reference: all neurons for every token, masked."""

    def __init__(self, mlp: SinkMLP) -> None:
        """Take the weights of an MLP with sinks: the same function, computed otherwise."""
        super().__init__()
        gate, up = mlp.backbone.linear_fc1.weight.detach().chunk(2)
        down = mlp.backbone.linear_fc2.weight.detach().T
        self.num_backbone = len(gate)
        self.first_sink_layer = mlp.first_sink_layer
        self.gate = nn.Parameter(torch.cat((gate, mlp.sinks.gate.detach())))
        self.up = nn.Parameter(torch.cat((up, mlp.sinks.up.detach())))
        self.down = nn.Parameter(torch.cat((down, mlp.sinks.down.detach())))

    def forward(self, hidden: Tensor, rows: PackedRows, layer: int) -> tuple[Tensor, None]:
        """Run on (T, 1, D) tokens; Megatron expects (output, bias)."""
        mask_TP = self._mask(rows, layer - self.first_sink_layer, len(hidden))
        output = dense_and_mask(hidden.squeeze(1), self.gate, self.up, self.down, mask_TP)
        return output.unsqueeze(1), None

    def _mask(self, rows: PackedRows, layer: int, num_tokens: int) -> Tensor:
        """Return (T, G + P), 1 for the neurons that serve a token."""
        plan = rows.plan
        active_SK = plan.rows[layer].view(-1, plan.num_active) + self.num_backbone
        keep_SK = plan.keep[layer].view_as(active_SK).to(self.gate.dtype)
        mask_SP = self.gate.new_zeros(len(active_SK), len(self.gate))
        mask_SP[:, : self.num_backbone] = 1
        mask_SP.scatter_(1, active_SK, keep_SK)
        lengths_S = rows.cu_seqlens_q.diff()
        return mask_SP.repeat_interleave(lengths_S, 0, output_size=num_tokens)


def build_dense_and_mask(run: Run, device: torch.device, dtype: torch.dtype) -> Peer:
    """Build our model, with the same initial values, computed as in the released reference."""
    config, topology = run.config, run.groups.topology
    model = build_model(config.model, topology, device)
    initialize(model, config.model, topology, config.seed)
    for layer in config.model.sink_layers:
        decoder_layer = model.decoder.layers[layer]
        decoder_layer.mlp = DenseMaskMLP(decoder_layer.mlp)
    return Peer(run, model.to(dtype), _megatron_loss, device)


def _megatron_loss(model: nn.Module, inputs: DeviceBatch) -> Tensor:
    return loss_sum(model, inputs.tokens, inputs.targets, inputs.has_target, inputs.rows)


def build_llama(run: Run, num_neurons: int, device: torch.device, dtype: torch.dtype) -> Peer:
    """Build transformers' Llama with our attention shape and an ordinary MLP.

    It sees the same rows with causal attention over the whole of each, documents or not.

    Args:
        run: gives the shape.
        num_neurons: width of the MLP.
        device: where it trains.
        dtype: of weights and activations.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    model = run.config.model
    llama: nn.Module = LlamaForCausalLM(
        LlamaConfig(**_llama_shape(model), intermediate_size=num_neurons),
    )
    context = model.context_length

    def loss(module: nn.Module, inputs: DeviceBatch) -> Tensor:
        tokens = inputs.tokens.view(-1, context)
        mean: Tensor = module(input_ids=tokens, labels=tokens, use_cache=False).loss
        return mean * inputs.tokens.numel()

    return Peer(run, llama.to(device, dtype), loss, device)


def _llama_shape(model: ModelConfig) -> dict[str, Any]:
    return {
        "vocab_size": model.vocab_size,
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "max_position_embeddings": model.context_length,
        "rms_norm_eps": model.norm_eps,
        "tie_word_embeddings": model.tied_embeddings,
        "attn_implementation": "sdpa",
    }
