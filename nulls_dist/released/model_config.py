"""model_config.yaml of a released model: what it says, and what it may not say.

A mapping of litgpt's fields, all of them written, plus p_gen and p_mem (shares of an MLP that are
backbone and that are active). Fields that would change the forward pass must have the values that
this project computes; unknown and missing fields are refused by name.

Known from a copy of the released file and of the authors' model code in a public audit of the
weights (HALO): every field, and that int(intermediate_size * p_gen) neurons come first and are
backbone. Taken on HALO's word, since neither file nor code says so: ids were int32 in training, and
rows had 1,024 tokens; the context length here is the file's block_size, 8,192 in the release.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from nulls_dist.config.schema import ModelConfig, RouterKind
from nulls_dist.errors import ConfigError, InputError
from nulls_dist.routing.reference import IdType
from nulls_dist.routing.reference_router import ReferenceSpec, usual_width

CONFIG_FILE: Final = "model_config.yaml"

FIXED_FIELDS: Final[dict[str, Any]] = {
    "attention_logit_softcapping": None,
    "attention_scores_scalar": None,
    "attn_bias": False,
    "bias": False,
    "final_logit_softcapping": None,
    "lm_head_bias": False,
    "mlp_class_name": "LLaMAMLPSeqTD",
    "n_expert": 0,
    "n_expert_per_token": 0,
    "norm_class_name": "RMSNorm",
    "norm_qk": False,
    "parallel_residual": False,
    "post_attention_norm": False,
    "post_mlp_norm": False,
    "rope_adjustments": None,
    "rope_condense_ratio": 1,
    "rotary_percentage": 1.0,
    "scale_embeddings": False,
    "shared_attention_norm": False,
    "sliding_window_layer_placing": None,
    "sliding_window_size": None,
    "use_seqtd": True,
}
_IGNORED: Final = frozenset({"gelu_approximate", "hf_config", "name", "padding_multiple"})
"""No part of this forward pass; name and hf_config are, for one family of models, see below."""


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Builds plain values, each written out: aliases can make a few lines endless."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias; the names are PyYAML's.

        Raises:
            YAMLError: there is one.
        """
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases; write every value out")
        return super().compose_node(parent, index)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasedConfig:
    """The fields that are numbers."""

    block_size: int
    head_size: int
    intermediate_size: int
    n_embd: int
    n_head: int
    n_layer: int
    n_query_groups: int
    norm_eps: float
    p_gen: float
    p_mem: float
    padded_vocab_size: int
    rope_base: int
    vocab_size: int

    @property
    def num_backbone(self) -> int:
        """Backbone neurons of an MLP; they come before the sinks."""
        return int(self.intermediate_size * self.p_gen)

    @property
    def num_sinks(self) -> int:
        """Sinks of an MLP."""
        return self.intermediate_size - self.num_backbone

    def model(self, id_dtype: IdType) -> ModelConfig:
        """Return the model in this project's terms.

        Raises:
            ConfigError: it breaks a rule.
        """
        kinds: dict[IdType, RouterKind] = {"int32": "reference_int32", "int64": "reference_int64"}
        return ModelConfig(
            num_layers=self.n_layer,
            hidden_size=self.n_embd,
            num_heads=self.n_head,
            num_kv_heads=self.n_query_groups,
            head_dim=self.head_size,
            num_backbone=self.num_backbone,
            num_experts=1,
            num_sinks=self.num_sinks,
            num_active=usual_width(self.num_sinks, self.p_mem),
            context_length=self.block_size,
            vocab_size=self.padded_vocab_size,
            per_layer=False,
            sink_dropout=0.0,
            tied_embeddings=False,
            rope_theta=float(self.rope_base),
            norm_eps=self.norm_eps,
            router=kinds[id_dtype],
        )

    def router(self, id_dtype: IdType) -> ReferenceSpec:
        """Return the router's specification.

        Raises:
            ConfigError: it breaks a rule.
        """
        return ReferenceSpec(
            seed=0,
            num_layers=self.n_layer,
            num_experts=1,
            num_sinks=self.num_sinks,
            num_active=usual_width(self.num_sinks, self.p_mem),
            per_layer=False,
            id_dtype=id_dtype,
            p_active=self.p_mem,
            p_backbone=self.p_gen,
        )


def read_config(root: Path) -> ReleasedConfig:
    """Read model_config.yaml.

    Raises:
        InputError: it is missing, no such file, or describes another kind of model.
    """
    path = root / CONFIG_FILE
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)
    except FileNotFoundError:
        raise InputError(
            f"{root} is not a released model: {CONFIG_FILE} is missing; name the directory that "
            "holds it beside lit_model.pth (in the release it is called final)"
        ) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from error
    numbers = ReleasedConfig.__annotations__
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be a mapping of fields")
    known = {*FIXED_FIELDS, *_IGNORED, *numbers}
    missing, unknown = sorted(known - set(content)), sorted(map(str, set(content) - known))
    if missing or unknown:
        raise InputError(
            f"{path}: fields differ from those of the release (missing {missing}, unknown "
            f"{unknown}); a model with them is not known to compute the same"
        )
    for name, wanted in FIXED_FIELDS.items():
        if content[name] != wanted or type(content[name]) is not type(wanted):
            raise InputError(f"{path}: {name} is {content[name]!r}; only {wanted!r} can be read")
    if "Gemma" in f"{content['name']}{content['hf_config']}":
        raise InputError(f"{path}: litgpt adds 1 to the norms of Gemma models; these are not read")
    if content["vocab_size"] != content["padded_vocab_size"]:
        raise InputError(
            f"{path}: vocab_size ({content['vocab_size']}) is not padded_vocab_size "
            f"({content['padded_vocab_size']}): which of them article ids begin at is not known"
        )
    return _numbers(path, {name: content[name] for name in numbers})


def _numbers(path: Path, values: dict[str, Any]) -> ReleasedConfig:
    for name, kind in ReleasedConfig.__annotations__.items():
        if type(values[name]) is not kind or not 0 < values[name] < math.inf:
            raise InputError(f"{path}: {name} is {values[name]!r}, not a positive {kind.__name__}")
    config = ReleasedConfig(**values)
    if not (config.p_gen < 1 and config.p_mem < 1 and config.num_backbone and config.num_sinks):
        raise InputError(
            f"{path}: p_gen ({config.p_gen}) and p_mem ({config.p_mem}) must be shares below 1 "
            f"that leave backbone and sinks among {config.intermediate_size} neurons"
        )
    try:
        config.model("int32")
    except ConfigError as error:
        raise InputError(f"{path}: {error}") from error
    return config
