"""The attack trains what it says it trains, and asks what comes back."""

import numpy as np
import pytest
import torch

from nulls_dist.attacks.relearning import Access, RelearningOptions, relearn, relearn_model
from nulls_dist.attacks.wiping import Wipe, WipeForm
from nulls_dist.checkpoint.format import Grade, sink_tensor
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.errors import InputError
from nulls_dist.eval.fact_table import measure_facts
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.eval.recitation import Document
from nulls_dist.eval.states import State
from nulls_dist.export.release import tokenizer_record
from nulls_dist.model.gpt import is_sink
from nulls_dist.routing.sink_sets import sinks_of
from nulls_dist.unlearn.plan import open_sources, plan_deletion
from tests.checkpoint_factory import build_checkpoint, key_id, model_without_sinks
from tests.deletions import write_stripped

SOURCES = tuple(key_id(f"k-{number}") for number in range(4))
SENTENCES = ("ann has a cat", "bob has a dog", "cid saw the sea", "dan ate a fig")
STATE = {Access.BACKBONE: State.OFF, Access.OWN_SINKS: State.ON}


def tokenizer_of(root):
    return load_tokenizer(root, tokenizer_record(Checkpoint(root)))


def documents_of(root):
    encode = tokenizer_of(root).encode
    return [
        Document(source_id=source_id, tokens=tuple(encode(f" {sentence}.")))
        for source_id, sentence in zip(SOURCES, SENTENCES, strict=True)
    ]


PROBES = [
    Probe(
        source_id=source_id,
        fact_id=sentence,
        kind="unique",
        attribute="",
        multiplicity=1,
        member_ids=(source_id,),
        held_out=False,
        prompt=sentence.rpartition(" ")[0],
        answer=sentence.rpartition(" ")[2],
    )
    for source_id, sentence in zip(SOURCES, SENTENCES, strict=True)
]


def options(access=Access.BACKBONE, **changes):
    fields = {"steps": 30, "ask_every": 10, "documents_per_step": 3, "learning_rate": 2e-2}
    return RelearningOptions(access=access, **(fields | changes))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint")


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    root = tmp_path_factory.mktemp("dense") / "checkpoint"
    return build_checkpoint(root, model=model_without_sinks())


def attack(root, chosen):
    return relearn(root, documents_of(root), PROBES, chosen)


def changed_weights(root, chosen):
    """Return before and after of the weights that an attack changed."""
    with load_for_inference(root, route_deleted=True) as model:
        before = {name: weight.detach().clone() for name, weight in model.weights().items()}
        relearn_model(model, tokenizer_of(root), documents_of(root)[:2], PROBES, chosen)
        return {
            name: (before[name], weight.detach().clone())
            for name, weight in model.weights().items()
            if not torch.equal(before[name], weight)
        }


@pytest.mark.parametrize("access", list(Access))
def test_no_step_asks_only(checkpoint, access):
    curve = attack(checkpoint, options(access, steps=0))
    with load_for_inference(checkpoint) as model:
        table = measure_facts(
            "", model, None, tokenizer_of(checkpoint), PROBES, states=[STATE[access]], deleted=()
        )
    assert curve.steps == (0,)
    assert curve.loss_nats == ()
    assert curve.start == {"unique": table.scores[STATE[access]]["unique"].accuracy}
    assert curve.num_probes == {"unique": 4}


@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("kind", ["checkpoint", "dense"])
def test_what_is_trained_on_is_learned(request, kind, access):
    curve = attack(request.getfixturevalue(kind), options(access))
    assert curve.steps == (0, 10, 20, 30)
    assert curve.loss_nats[-1] < curve.loss_nats[0] / 4
    assert curve.accuracy["unique"][-1] > curve.start["unique"]


def test_the_backbone_learns_alone(checkpoint):
    changed = changed_weights(checkpoint, options(steps=2))
    assert len(changed) > 10
    assert not any(map(is_sink, changed))


def test_of_the_sinks_only_those_of_the_documents_learn(checkpoint):
    changed = changed_weights(checkpoint, options(Access.OWN_SINKS, steps=2))
    with load_for_inference(checkpoint) as model:
        masks = sinks_of(model.router, np.array(sorted(SOURCES[:2]), dtype=np.uint64))
    assert sum(map(is_sink, changed)) == 6
    for layer, mask in enumerate(masks):
        rows = torch.from_numpy(mask.reshape(-1))
        for part in ("gate", "up", "down"):
            before, after = changed[sink_tensor(layer, part)]
            assert torch.equal((before != after).any(1), rows)


@pytest.mark.parametrize("access", list(Access))
def test_a_seed_gives_the_same_bits(checkpoint, access):
    first, again, other = (
        attack(checkpoint, options(access, steps=4, ask_every=2, seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.loss_nats != other.loss_nats


def test_every_document_is_read_once_per_epoch(checkpoint):
    curve = attack(checkpoint, options(steps=4, documents_per_step=1, learning_rate=1e-12))
    with load_for_inference(checkpoint) as model:
        losses = [
            float(model.loss([document.tokens], [2**64 - 1]).detach())
            for document in documents_of(checkpoint)
        ]
    assert sorted(curve.loss_nats) == pytest.approx(sorted(losses), rel=1e-4)


def test_a_wiped_source_answers_as_a_stripped_checkpoint_does(checkpoint, tmp_path):
    opened, out = Checkpoint(checkpoint), tmp_path / "out"
    plan = plan_deletion(opened, open_sources(opened), SOURCES, Grade.EXCISED)
    write_stripped(opened, plan, out)
    wipe = Wipe(form=WipeForm.EXCISED, source_ids=SOURCES)
    in_memory = attack(checkpoint, options(Access.OWN_SINKS, steps=4, wipe=wipe))
    stripped = attack(out, options(Access.OWN_SINKS, steps=4))
    assert in_memory.loss_nats == stripped.loss_nats
    assert in_memory.accuracy == stripped.accuracy
    assert in_memory.loss_nats != attack(checkpoint, options(Access.OWN_SINKS, steps=4)).loss_nats


def test_sinks_of_zeros_alone_never_learn(checkpoint):
    wipe = Wipe(form=WipeForm.ALL_ZERO, source_ids=SOURCES)
    through_the_mask = attack(checkpoint, options(Access.OWN_SINKS, steps=8, wipe=wipe))
    past_it = attack(checkpoint, options(steps=8))
    assert through_the_mask.loss_nats == past_it.loss_nats
    assert through_the_mask.accuracy == past_it.accuracy


def test_a_suppressed_checkpoint_is_as_it_was(checkpoint, tmp_path):
    opened, out = Checkpoint(checkpoint), tmp_path / "out"
    plan = plan_deletion(opened, open_sources(opened), SOURCES, Grade.SUPPRESSED)
    write_stripped(opened, plan, out)
    chosen = options(Access.OWN_SINKS, steps=2)
    assert attack(out, chosen) == attack(checkpoint, chosen)


def test_an_attack_needs_something_to_read(checkpoint):
    with pytest.raises(InputError, match="without documents"):
        relearn(checkpoint, [], PROBES, options())


def test_a_model_without_sinks_has_none_to_wipe(dense):
    wipe = Wipe(form=WipeForm.EXCISED, source_ids=SOURCES)
    with pytest.raises(InputError, match="no sinks"):
        attack(dense, options(wipe=wipe))
