"""A random model with loud sinks, before and after two of its sources were deleted."""

import numpy as np
import pytest

from nulls_dist.checkpoint.format import Grade, sink_weights_file
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.export.release import tokenizer_record
from nulls_dist.unlearn.plan import open_sources, plan_deletion
from tests.checkpoint_factory import (
    build_checkpoint,
    key_id,
    model_without_sinks,
    rewrite_tensors,
)
from tests.deletions import write_stripped

WORDS = ("dog", "cat", "cow", "owl")


def louder(tensors):
    return {
        name: values * 20 if name.endswith("sinks.down") else values
        for name, values in tensors.items()
    }


@pytest.fixture(scope="session")
def deleted():
    return sorted([key_id("k-3"), key_id("k-8")])


@pytest.fixture(scope="session")
def roots(tmp_path_factory, deleted):
    """The model before, suppressed and excised, and one without sinks."""
    folder = tmp_path_factory.mktemp("attacked")
    found = {"before": build_checkpoint(folder / "before")}
    for expert in range(2):  # otherwise the sinks of random weights hardly say anything
        rewrite_tensors(found["before"], sink_weights_file(expert), louder)
    checkpoint = Checkpoint(found["before"])
    for grade in Grade:
        plan = plan_deletion(checkpoint, open_sources(checkpoint), deleted, grade)
        found[grade.value] = folder / grade.value
        write_stripped(checkpoint, plan, found[grade.value])
    found["dense"] = build_checkpoint(folder / "dense", model=model_without_sinks())
    return found


@pytest.fixture(scope="session")
def survivors(roots, deleted):
    everyone = open_sources(Checkpoint(roots["before"])).source_ids
    return np.setdiff1d(everyone, np.array(deleted, dtype=np.uint64))


@pytest.fixture(scope="session")
def tokenizer(roots):
    return load_tokenizer(roots["before"], tokenizer_record(Checkpoint(roots["before"])))


@pytest.fixture(scope="session")
def opened(roots):
    """Open one of the models as someone who holds its weights."""
    return lambda name: load_for_inference(roots[name], route_deleted=True)


@pytest.fixture
def model(opened):
    with opened("before") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def probes(deleted):
    return [
        probe(source_id, f"{name} has a", answer)
        for source_id, names in zip(deleted, (("ann", "eve"), ("tom", "bob")), strict=True)
        for name, answer in zip(names, ("dog", "cow"), strict=True)
    ]


def probe(source_id, prompt, answer, **fields):
    values = {
        "fact_id": f"{source_id} {prompt}",
        "kind": "unique",
        "attribute": "pet",
        "multiplicity": 1,
        "member_ids": (source_id,),
        "held_out": False,
        "wrong_answers": tuple(word for word in WORDS if word != answer),
    }
    return Probe(**(values | fields), source_id=source_id, prompt=prompt, answer=answer)
