"""A Llama whose MLPs have a backbone and, for a text of a known source, that source's sinks.

The sinks of a text depend on its source alone, not on its tokens, so they are the same at every
step of generation, with a cache or without.

Dimensions: B texts, T tokens, D model dim, L layers with sinks (the last of all), K active sinks,
P sinks of the pool.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM, LlamaModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaMLP
from transformers.utils.hub import cached_file

from .configuration_nulls import NullsConfig
from .router_nulls import HashRouter
from .sources_nulls import SOURCES_FILE, SourceIndex

SourceIds = Sequence[int | None] | Tensor
"""One id per text, of a tensor its bits as int64; None or -1 is the backbone alone."""

_OFF = -1  # the bits of the id that no source has
_HUB_OPTIONS = (
    *("cache_dir", "force_download", "proxies", "token", "revision", "local_files_only"),
    "subfolder",
)


class NullsMLP(LlamaMLP):
    """Backbone neurons for every token plus the sinks of the text's source."""

    def __init__(self, config: NullsConfig) -> None:
        super().__init__(config)
        assert config.router is not None
        pool = config.router["num_experts"] * config.router["num_sinks"]
        self.sink_gate = nn.Embedding(pool, config.hidden_size)
        self.sink_up = nn.Embedding(pool, config.hidden_size)
        self.sink_down = nn.Embedding(pool, config.hidden_size)

    def forward(self, x: Tensor, sink_rows: Tensor | None = None) -> Tensor:
        """Run the neurons.

        Args:
            x: (B, T, D).
            sink_rows: (B, K) rows of the pool, -1 where a text runs on the backbone alone.
        """
        output: Tensor = super().forward(x)
        if sink_rows is None:
            return output
        rows = sink_rows.clamp(min=0)
        gate, up = self.sink_gate(rows), self.sink_up(rows)  # (B, K, D)
        down: Tensor = self.sink_down(rows) * (sink_rows >= 0).unsqueeze(-1)
        hidden = functional.silu(x @ gate.mT) * (x @ up.mT)  # (B, T, K)
        return output + torch.matmul(hidden, down)


class NullsDecoderLayer(LlamaDecoderLayer):
    """Llama's layer; the sinks of this layer, where it has some, reach the MLP."""

    def __init__(self, config: NullsConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        assert config.router is not None
        self.sink_layer = layer_idx - (config.num_hidden_layers - config.router["num_layers"])
        if self.sink_layer >= 0:
            self.mlp = NullsMLP(config)

    def forward(
        self, hidden_states: Tensor, *, sink_rows: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """Attention, then the MLP, each with its norm and residual.

        Args:
            hidden_states: (B, T, D).
            sink_rows: (L, B, K).
            kwargs: what attention takes.
        """
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + attended
        normalized = self.post_attention_layernorm(hidden_states)
        if sink_rows is None or self.sink_layer < 0:
            output: Tensor = self.mlp(normalized)
        else:
            output = self.mlp(normalized, sink_rows[self.sink_layer])
        return hidden_states + output


class NullsModel(LlamaModel):
    """Llama's stack with layers that have sinks."""

    config_class = NullsConfig
    _no_split_modules = ["NullsDecoderLayer"]

    def __init__(self, config: NullsConfig) -> None:
        super().__init__(config)
        layers = range(config.num_hidden_layers)
        self.layers = nn.ModuleList(NullsDecoderLayer(config, layer) for layer in layers)
        self.post_init()


class NullsForCausalLM(LlamaForCausalLM):
    """The language model; `generate` and `forward` take the source of each text.

    Attributes:
        sources: the sources that can be named; None in a model that was not loaded from files.
    """

    config_class = NullsConfig
    _no_split_modules = ["NullsDecoderLayer"]
    _can_compile_fullgraph = False  # sources are looked up on the host

    def __init__(self, config: NullsConfig) -> None:
        super().__init__(config)
        if config.router is None:
            raise ValueError("config.router is missing: it says which sinks serve a source")
        self.model = NullsModel(config)
        self.post_init()
        self.sources: SourceIndex | None = None
        self._router = HashRouter(**config.router)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """Load weights and the index of sources."""
        options = {key: kwargs[key] for key in _HUB_OPTIONS if key in kwargs}
        loaded: Any = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        path = cached_file(pretrained_model_name_or_path, SOURCES_FILE, **options)
        assert path is not None, "cached_file raises where there is no file"
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.sources = SourceIndex.load(path)
        return loaded

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """Save weights, code and the index of sources."""
        self._index().save(os.path.join(save_directory, SOURCES_FILE))
        return super().save_pretrained(save_directory, *args, **kwargs)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        source_ids: SourceIds | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Run a batch as a Llama does, each text with the sinks of its source.

        Args:
            input_ids: (B, T) int64; or `inputs_embeds`, (B, T, D).
            attention_mask: as in `LlamaForCausalLM.forward`, with all that follows.
            position_ids: as there.
            past_key_values: as there.
            inputs_embeds: as there.
            labels: as there.
            use_cache: as there.
            logits_to_keep: as there.
            source_ids: of each text; without, all run on the backbone alone.
            kwargs: as there.

        Raises:
            ValueError: a source is not in the index, or there is not one per text.
        """
        if source_ids is not None:
            tokens = input_ids if input_ids is not None else inputs_embeds
            assert tokens is not None
            kwargs["sink_rows"] = self._route(_as_bits(source_ids), tokens)
        output: CausalLMOutputWithPast = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
        return output

    def generate(
        self,
        *args: Any,
        source: str | None = None,
        source_ids: SourceIds | None = None,
        state: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate as any model of transformers does, with some source's sinks or none.

        Args:
            args: as in `GenerationMixin.generate`: (B, T) int64 prompts, or `input_ids`.
            source: title or other name of the source whose sinks serve all texts.
            source_ids: or the source of each text.
            state: "on", the default with a source: its sinks; "off", the default without: the
                backbone alone; "nearest": of each prompt the source whose title is most like it,
                or the backbone where no title shares anything with it; needs `tokenizer`.
            kwargs: as in `GenerationMixin.generate`.

        Raises:
            ValueError: a source is unknown or was deleted, or the arguments contradict each other.
        """
        named = (source is not None) + (source_ids is not None)
        state = state or ("on" if named else "off")
        if state not in ("on", "off", "nearest") or named != (state == "on"):
            raise ValueError(
                f"state {state!r} with {named} ways to name a source: give source or source_ids "
                "for the state 'on', neither for 'off' and 'nearest'"
            )
        prompts = args[0] if args else kwargs.get("inputs", kwargs.get("input_ids"))
        if source is not None:
            texts = prompts if prompts is not None else kwargs.get("inputs_embeds", [None])
            source_ids = [self._index().find(source)] * len(texts)
        elif state == "nearest":
            source_ids = self._nearest(prompts, kwargs)
        if source_ids is not None:
            kwargs["source_ids"] = _as_bits(source_ids)
        return super().generate(*args, **kwargs)

    def _nearest(self, prompts: Tensor | None, options: dict[str, Any]) -> list[int | None]:
        tokenizer, mask = options.get("tokenizer"), options.get("attention_mask")
        if tokenizer is None or prompts is None:
            raise ValueError("state 'nearest' reads the prompts: it needs them and tokenizer=...")
        found: list[int | None] = []
        for row, tokens in enumerate(prompts):
            text = tokenizer.decode(tokens if mask is None else tokens[mask[row].bool()])
            found.append(next(iter(self._index().nearest(text)), None))
        return found

    def _index(self) -> SourceIndex:
        if self.sources is None:
            raise ValueError("this model has no index of sources; load it with from_pretrained")
        return self.sources

    def _route(self, bits: Tensor, tokens: Tensor) -> Tensor:
        """Return the rows of every text's sinks, -1 where it has none: (B,) -> (L, B, K)."""
        if len(bits) != len(tokens):
            raise ValueError(f"{len(bits)} source_ids for {len(tokens)} texts; give one per text")
        is_on = bits.numpy() != _OFF
        source_ids = bits.numpy().view(np.uint64)
        self._index().check(source_ids[is_on])
        rows = np.where(is_on[:, None], self._router.rows_of(source_ids), _OFF)
        return torch.from_numpy(rows).to(tokens.device)


def _as_bits(source_ids: SourceIds) -> Tensor:
    """Return ids as int64 of the same bits, on the host: (B,)."""
    if isinstance(source_ids, Tensor):
        return source_ids.to("cpu", torch.int64)
    unsigned = [(_OFF if number is None else number) % (1 << 64) for number in source_ids]
    return torch.from_numpy(np.array(unsigned, np.uint64).view(np.int64))
