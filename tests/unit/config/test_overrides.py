"""`--set`: typed, all at once, and every broken rule named with field, value and remedy."""

import pytest

from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import load_preset
from nulls_dist.errors import ConfigError


def change(*assignments, preset="nulls_tiny"):
    return apply_overrides(load_preset(preset), assignments)


def test_the_names_that_scripts_rely_on_exist_and_take_effect():
    config = change(
        "train.steps=7",
        "train.global_batch_rows=16",
        "train.save_every=3",
        "train.dtype=bf16",
        "parallel.ep=2",
        "parallel.tp=1",
        "optim.lr=5e-4",
        "model.sink_dropout=0.1",
    )
    assert (config.train.steps, config.train.global_batch_rows, config.train.save_every) == (
        *(7, 16, 3),
    )
    assert config.train.dtype == "bf16"
    assert (config.parallel.ep, config.parallel.tp) == (2, 1)
    assert config.optim.lr == 5e-4
    assert config.model.sink_dropout == 0.1


def test_values_have_the_type_of_their_field():
    config = change("model.per_layer=false", "optim.lr=1", " train.steps = 5 ", "optim.beta1=0")
    assert config.model.per_layer is False
    assert config.optim.lr == 1.0
    assert isinstance(config.optim.lr, float)
    assert config.train.steps == 5


def test_nothing_else_changes_and_the_preset_stays_as_it_was():
    before = load_preset("nulls_tiny")
    expected = before.to_dict()
    expected["optim"]["lr"] = 1.0
    assert apply_overrides(before, ["optim.lr=1"]).to_dict() == expected
    assert before == load_preset("nulls_tiny")
    assert apply_overrides(before, []) == before


def test_numbers_of_rows_are_free_of_the_experts_where_documents_are_not_placed():
    rows = ("train.global_batch_rows=7", "train.eval_rows=5")
    config = change("parallel.dispatcher=all_to_all", *rows)
    assert (config.train.global_batch_rows, config.train.eval_rows) == (7, 5)
    with pytest.raises(ConfigError, match=r"unless parallel\.dispatcher=all_to_all"):
        change("parallel.dispatcher=local", *rows)


def test_the_last_assignment_of_a_field_counts():
    assert change("train.steps=5", "train.steps=6").train.steps == 6


@pytest.mark.parametrize(
    "pair",
    [
        ("optim.warmup_fraction=0.8", "optim.decay_fraction=0.1"),
        ("model.num_active=24", "model.num_sinks=240"),
        ("model.num_kv_heads=3", "model.num_heads=6"),
        ("model.num_experts=3", "train.global_batch_rows=9", "train.eval_rows=9"),
    ],
)
def test_fields_that_fit_only_together_can_change_together(pair):
    for alone in pair[:-1]:
        with pytest.raises(ConfigError):
            change(alone)
    assert change(*pair) == change(*pair[::-1])


BAD = [
    # Malformed assignments and unknown names, with the nearest name where there is one.
    ("train.steps", "--set train.steps: must have the form section.field=value"),
    ("steps=5", "--set steps=5: must have the form section.field=value"),
    ("=5", "must have the form section.field=value"),
    ("", "must have the form section.field=value"),
    ("seed=5", "must have the form section.field=value"),
    ("trains.steps=5", "section 'trains' is unknown; did you mean train?"),
    ("preset.name=x", "section 'preset' is unknown;"),
    (".steps=5", "section '' is unknown; available: model, train, optim, parallel"),
    ("train.step=5", "field of train 'step' is unknown; did you mean steps?"),
    ("train.=5", "field of train '' is unknown; available: steps"),
    ("train.steps.more=5", "field of train 'steps.more' is unknown; did you mean"),
    ("model.sink_droput=0", "field of model 'sink_droput' is unknown; did you mean sink_dropout?"),
    ("model.__class__=x", "field of model '__class__' is unknown"),
    ("model.sink_init_std=1", "field of model 'sink_init_std' is unknown; did you mean init_std?"),
    # Values of another type.
    ("train.steps=many", "train.steps ('many') must be a whole number"),
    ("train.steps=5.0", "train.steps ('5.0') must be a whole number"),
    ("train.steps=1e3", "train.steps ('1e3') must be a whole number"),
    ("train.steps=", "train.steps ('') must be a whole number"),
    ("train.steps=" + "9" * 5000, "must be a whole number"),
    ("train.steps=" + "9" * 30, "must be a whole number of at most 9223372036854775807"),
    ("optim.lr=fast", "optim.lr ('fast') must be a number"),
    ("optim.lr=nan", "optim.lr ('nan') must be a finite number"),
    ("optim.lr=1e999", "optim.lr ('1e999') must be a finite number"),
    ("optim.grad_clip=inf", "optim.grad_clip ('inf') must be a finite number"),
    ("model.per_layer=yes", "model.per_layer ('yes') must be true or false"),
    ("model.tied_embeddings=1", "model.tied_embeddings ('1') must be true or false"),
    ("train.dtype=fp16", "train.dtype ('fp16') must be one of auto, fp32, bf16"),
    ("model.router=hash", "model.router ('hash') must be one of stratified, reference_int32"),
    ("optim.schedule=linear", "optim.schedule ('linear') must be one of wsd, cosine"),
    ("report.wandb=yes", "report.wandb ('yes') must be one of off, offline, online"),
    ("train.keep_every=500", "train.keep_every (500) needs train.keep_last above 0"),
    # Rules of one field.
    *(
        (f"model.{name}=0", f"model.{name} (0) must be at least 1")
        for name in (
            *("num_layers", "hidden_size", "num_heads", "num_kv_heads", "head_dim"),
            *("num_backbone", "num_experts"),
        )
    ),
    ("model.num_sinks=-8", "model.num_sinks (-8) must not be negative"),
    ("model.num_active=-8", "model.num_active (-8) must not be negative"),
    *(
        (f"train.{name}=0", f"train.{name} (0) must be at least 1")
        for name in ("steps", "global_batch_rows", "micro_batch_rows", "save_every", "eval_rows")
    ),
    ("train.steps=-5", "train.steps (-5) must be at least 1"),
    ("train.eval_every=-1", "train.eval_every (-1) must not be negative"),
    ("train.keep_last=-1", "train.keep_last (-1) must not be negative"),
    ("train.keep_every=-50", "train.keep_every (-50) must not be negative"),
    ("train.keep_every=75", "train.keep_every (75) must be a multiple of train.save_every (50)"),
    ("train.async_save=1", "train.async_save ('1') must be true or false"),
    ("train.max_bad_steps=-1", "train.max_bad_steps (-1) must not be negative"),
    ("model.head_dim=17", "model.head_dim (17) must be even"),
    ("model.context_length=1", "model.context_length (1) must be at least 2"),
    ("model.vocab_size=-1", "model.vocab_size (-1) must not be negative"),
    ("model.sink_dropout=1", "model.sink_dropout (1.0) must be in [0, 1)"),
    ("model.sink_dropout=-0.1", "model.sink_dropout (-0.1) must be in [0, 1)"),
    ("model.first_sink_layer=-1", "model.first_sink_layer (-1) must not be negative"),
    ("model.first_sink_layer=2", "model.first_sink_layer (2) must be below model.num_layers (2)"),
    ("model.rope_theta=0", "model.rope_theta (0.0) must be above 0"),
    ("model.norm_eps=0", "model.norm_eps (0.0) must be above 0"),
    ("model.init_std=-1", "model.init_std (-1.0) must be above 0"),
    ("optim.lr=0", "optim.lr (0.0) must be above 0"),
    ("optim.eps=0", "optim.eps (0.0) must be above 0"),
    ("optim.beta1=1", "optim.beta1 (1.0) must be in [0, 1)"),
    ("optim.beta2=-0.5", "optim.beta2 (-0.5) must be in [0, 1)"),
    ("optim.warmup_fraction=1.5", "optim.warmup_fraction (1.5) must be in [0, 1]"),
    ("optim.decay_fraction=-1", "optim.decay_fraction (-1.0) must be in [0, 1]"),
    ("optim.min_lr_ratio=2", "optim.min_lr_ratio (2.0) must be in [0, 1]"),
    ("optim.weight_decay=-1", "optim.weight_decay (-1.0) must not be negative"),
    ("optim.grad_clip=-1", "optim.grad_clip (-1.0) must not be negative"),
    ("report.wandb_project=", "report.wandb_project must not be empty"),
    ("parallel.ep=-1", "parallel.ep (-1) must not be negative"),
    ("parallel.tp=0", "parallel.tp (0) must be at least 1"),
    ("parallel.tp=3", "parallel.tp (3) must divide model.num_heads (4)"),
    ("parallel.tp=4", "parallel.tp (4) must divide model.num_kv_heads (2)"),
    (
        "parallel.dispatcher=alltoall",
        "parallel.dispatcher ('alltoall') must be one of local, all_to_all",
    ),
    ("parallel.pp=2", "parallel.pp (2) must be 1: out of scope"),
    ("parallel.sequence_parallel=true", "parallel.sequence_parallel (True) must be false"),
    ("parallel.cp=2", "parallel.cp (2) must be 1: out of scope"),
    # Rules across fields.
    ("model.num_kv_heads=3", "model.num_kv_heads (3) must divide model.num_heads (4)"),
    ("model.num_active=12", "model.num_active (12) must be a multiple of 8"),
    ("model.hidden_size=60", "model.hidden_size (60) must be a multiple of 8"),
    ("model.num_sinks=0", "model.num_sinks (0) and model.num_active (8) must both be above 0, or"),
    ("model.num_active=0", "model.num_sinks (256) and model.num_active (0) must both be above 0,"),
    ("model.num_sinks=250", "model.num_active (8) must divide model.num_sinks (250)"),
    ("optim.decay_fraction=0.99", "optim.decay_fraction (0.99) must not add up to more than 1"),
    ("train.global_batch_rows=7", "train.global_batch_rows (7) must be a multiple of"),
    ("train.eval_rows=7", "train.eval_rows (7) must be a multiple of model.num_experts (2)"),
    ("model.num_experts=3", "train.global_batch_rows (8) must be a multiple of"),
]


@pytest.mark.parametrize(
    ("assignment", "message"), BAD, ids=[bad[0][:30] or "empty" for bad in BAD]
)
def test_a_bad_assignment_is_refused_with_field_value_and_rule(assignment, message):
    with pytest.raises(ConfigError) as caught:
        change(assignment)
    assert message in str(caught.value)


def test_a_model_without_sinks_needs_no_sink_dropout_and_keeps_its_experts():
    without = ("model.num_sinks=0", "model.num_active=0")
    with pytest.raises(ConfigError, match=r"model\.sink_dropout \(0\.3\) must be 0 in a model"):
        change(*without)
    without = (*without, "model.sink_dropout=0")
    with pytest.raises(ConfigError, match=r"sinks\.private_sources \(some\.txt\) must be empty"):
        change(*without, "sinks.private_sources=some.txt")
    model = change(*without).model
    assert not model.has_sinks
    assert model.num_experts == 2


@pytest.mark.parametrize(
    "good", ["train.eval_every=0", "optim.grad_clip=0", "model.sink_dropout=0"]
)
def test_zero_turns_an_option_off(good):
    section, _, name = good.partition("=")[0].partition(".")
    assert getattr(getattr(change(good), section), name) == 0
