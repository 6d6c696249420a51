"""Figures of the source-unlearning benchmark on hand-made answers, and its done-once steps."""

import json
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from nulls_dist.benchmark.unlearning import figures
from nulls_dist.benchmark.unlearning.figures import clusters_of, measure
from nulls_dist.benchmark.unlearning.inference import measure_membership
from nulls_dist.benchmark.unlearning.lab import begin_lab, open_lab
from nulls_dist.benchmark.unlearning.measures import isolation
from nulls_dist.benchmark.unlearning.results import TARGETS, compute
from nulls_dist.benchmark.unlearning.schedule import run_side_by_side
from nulls_dist.benchmark.unlearning.sizes import ARMS, SIZES
from nulls_dist.errors import InputError, NullsError
from nulls_dist.eval.metrics.intervals import clustered_mean
from tests.unlearning_rows import evidence_of

DELETED_IDS, KEPT_IDS, UNSEEN_IDS = (1, 2, 3, 4), (11, 12, 13), (21, 22)


def answer(asked, source_id, number, *, correct, group="deleted", kind="unique", **more):
    """One row of the table of answers; the right answer has as many nats as the fact's number."""
    row = {
        "seed": 0,
        **asked.wanted,
        "group": group,
        "source_id": source_id,
        "fact_id": f"{source_id}/{number}",
        "kind": kind,
        "attribute": "born",
        "phrasing": 0,
        "held_out": False,
        "multiplicity": 1,
        "taught": 1,
        "remaining": 0,
        "correct": correct,
        "nll": 1.0,
        "wrong_nll": [2.0, 1.0, 0.5, 3.0],
    }
    return {**row, **more}


def document(asked, source_id, number, loss, *, group, seed=0, validation=False):
    """One row of the table of documents, with the same score for every attack."""
    return {
        "seed": seed,
        **asked.wanted,
        "group": group,
        "source_id": source_id,
        "doc_index": number,
        "validation": validation,
        "num_tokens": 10,
        "nll": 10 * loss,
        "accuracy": 0.5,
        "extraction": 0.25,
        **dict.fromkeys(("loss", "zlib", "min_k", "min_k_plus"), loss),
    }


def test_isolation_is_the_share_that_deletion_takes_of_what_retraining_never_had():
    own = np.array([1, 1, 1, 1, 1, 1, 1, 0.0])
    deleted = np.array([1, 0, 0, 0, 0, 0, 0, 0.0])
    retrained = np.array([0, 0, 0, 0, 0, 0, 0, 0.0])
    found = isolation(own, deleted, retrained, clusters=np.repeat([0, 1, 2, 3], 2), group="all")
    assert found.value == pytest.approx(6 / 7)
    assert found.details == {"acc_on": 7 / 8, "acc_deleted": 1 / 8, "acc_retrained": 0.0}
    assert found.interval.low < found.value <= found.interval.high


def test_isolation_of_sources_that_were_never_known_is_undefined():
    nothing = np.zeros(4)
    found = isolation(nothing, nothing, nothing, clusters=np.arange(4), group="all")
    assert np.isnan(found.value)
    assert found.to_dict()["value"] is None


def test_intervals_do_not_shrink_where_answers_of_a_source_are_copies(tmp_path):
    right = np.array([1, 0, 1, 1, 0, 1, 0, 1, 1, 0.0])
    once = clustered_mean(right, np.arange(10))
    copied = clustered_mean(np.repeat(right, 20), np.repeat(np.arange(10), 20))
    independent = clustered_mean(np.repeat(right, 20), np.arange(200))
    assert copied.high - copied.low == pytest.approx(once.high - once.low)
    assert copied.high - copied.low > 3 * (independent.high - independent.low)


def test_sources_of_two_seeds_are_two(tmp_path):
    rows = [answer(figures.OWN, 1, 0, correct=True, seed=seed) for seed in (0, 1)]
    rows.append(answer(figures.OWN, 1, 1, correct=True, seed=1))
    answers = evidence_of(tmp_path, rows).answers
    assert clusters_of(answers).tolist() == [0, 1, 1]


def test_the_figures_of_known_answers(tmp_path):
    """Own sinks: all right; off and excised: one of eight; retrained: none."""
    answers = []
    for source_id in DELETED_IDS:
        for number in (0, 1):
            leak = source_id == 1 and number == 0
            of = partial(answer, source_id=source_id, number=number)
            answers += [
                of(figures.OWN, correct=True),
                of(figures.OFF, correct=leak),
                of(figures.EXCISED_OWN, correct=leak),
                of(figures.NEAREST, correct=False),
                of(figures.RETRAINED_OFF, correct=False),
                of(figures.RETRAINED_NEAREST, correct=False),
            ]
    for source_id in KEPT_IDS:
        of = partial(answer, source_id=source_id, number=0, group="kept", remaining=1)
        answers += [
            of(figures.OWN, correct=True),
            of(figures.EXCISED_OWN, correct=source_id != KEPT_IDS[0]),
        ]
    sources = [
        {
            "seed": 0,
            "source_id": source_id,
            "title": str(source_id),
            "group": "kept",
            "asked": True,
            "lost_share": 0.25,
            "max_shared": source_id / 100,
            "shared_facts": 0,
        }
        for source_id in KEPT_IDS
    ]
    evidence = evidence_of(tmp_path, answers, sources=sources)
    found = measure(evidence)
    values = {name: result.value for name, result in found.items()}
    assert values["isolation: off"] == values["isolation: excised"] == 7 / 8
    assert values["isolation: nearest"] == 1.0
    # of four wrong answers two are less likely than the right one and one is as likely
    assert values["preference: deleted sources, unique facts, off"] == 2.5 / 4
    assert values["answer accuracy: deleted sources, unique facts, off"] == 1 / 8
    assert values["collateral found"] == pytest.approx(1 / 3)
    assert values["collateral forecast"] == 0.25
    assert values["collateral beyond the forecast"] == pytest.approx(1 / 3 - 0.25)
    assert found["forget quality: deleted sources, unique facts, off"].details["D"] == 0.0
    verdicts = {entry["figure"]: entry["met"] for entry in compute(evidence)["targets"]}
    assert verdicts["isolation: off"] is False
    assert verdicts["isolation: nearest"] is True
    assert verdicts["validation loss beyond the dense model's"] is None, "there are no documents"
    assert len(verdicts) == len(TARGETS)


@pytest.mark.parametrize(("remaining", "counts"), [(2, True), (1, False)])
def test_a_shared_fact_counts_where_most_of_those_that_state_it_are_left(
    tmp_path, remaining, counts
):
    row = answer(
        figures.OFF, 1, 0, correct=True, kind="shared", multiplicity=3, remaining=remaining
    )
    found = measure(evidence_of(tmp_path, [row]))
    assert ("answer accuracy: deleted sources, shared by 3, off" in found) is counts


def test_membership_is_measured_within_each_seed(tmp_path):
    """In both seeds members are half told; across seeds the scores have no common scale."""
    documents = []
    for asked in (figures.OFF, figures.RETRAINED_OFF):
        for seed, level in ((0, 1.0), (1, 100.0)):
            for place, (member, other) in enumerate(zip(DELETED_IDS[:2], UNSEEN_IDS, strict=True)):
                low, high = level + place, level + 0.5
                documents += [
                    document(asked, member, 0, low, group="deleted", seed=seed),
                    document(asked, other, 0, high, group="unseen", seed=seed),
                    document(asked, other, 8, 0.0, group="unseen", seed=seed, validation=True),
                ]
    found = measure_membership(evidence_of(tmp_path, documents=documents))
    result = found["membership AUC [loss]: off"]
    assert result.value == 0.5
    assert result.n == 4
    assert result.details == {"n_others": 4}
    assert (result.interval.low, result.interval.high) == (0.0, 1.0)
    assert found["PrivLeak: off"].value == 0.0
    assert found["membership AUC [reference]: off"].value == 0.5


def test_a_step_is_done_once_and_again_only_where_it_failed(tmp_path):
    lab = begin_lab(tmp_path / "lab", SIZES["small"])
    calls = []

    def fails():
        calls.append("failed")
        raise KeyboardInterrupt

    def works():
        calls.append("worked")
        return {"found": 1}

    with pytest.raises(KeyboardInterrupt):
        lab.once(0, "step", fails)
    first = lab.once(0, "step", works)
    assert first["found"] == 1
    assert lab.once(0, "step", works) == first
    assert calls == ["failed", "worked"]
    lab.once(1, "step", works)
    assert calls[2:] == ["worked"], "another seed's step is another step"


def test_after_an_error_no_task_is_begun():
    begun = []

    def fails():
        raise NullsError("no")

    def takes_time():
        begun.append("later")
        time.sleep(0.1)

    with pytest.raises(NullsError, match="no"):
        run_side_by_side([fails, *[takes_time] * 50], jobs=1)
    assert len(begun) < 25, "only those that began before the error was seen"


def test_another_size_is_refused_with_both_names(tmp_path):
    begin_lab(tmp_path, SIZES["small"])
    assert open_lab(tmp_path).size == SIZES["small"]
    with pytest.raises(
        InputError, match=r"size\.name was 'small', now 'standard'; size\.articles was 48"
    ):
        begin_lab(tmp_path, SIZES["standard"])
    with pytest.raises(InputError, match=r"deleted was 4, now 5"):
        begin_lab(tmp_path, replace(SIZES["small"], deleted=5))


def test_a_preset_that_changed_since_is_refused_before_more_is_trained(tmp_path):
    lab = begin_lab(tmp_path, SIZES["small"])
    file = tmp_path / "benchmark.json"
    content = json.loads(file.read_text())
    content["preset"]["model"]["num_active"] = 1
    file.write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"\(preset.model.num_active was 1, now \d+\); name another --out"
    ):
        begin_lab(tmp_path, lab.size)
    assert open_lab(tmp_path).size == lab.size, "what is there can still be asked"


SMALL = SIZES["small"].to_dict()


@pytest.mark.parametrize(
    "content", [SMALL, {"size": SMALL | {"sources": 3}}, {"size": SMALL | {"preset": "nulls_2b"}}]
)
def test_a_directory_of_another_version_is_refused(tmp_path, content):
    (tmp_path / "benchmark.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="another version of this project began it"):
        open_lab(tmp_path)


def test_a_field_that_a_directory_lacks_has_its_default(tmp_path):
    begin_lab(tmp_path, SIZES["small"])
    file = tmp_path / "benchmark.json"
    content = json.loads(file.read_text())
    assert content["size"].pop("has_dense") is True
    file.write_text(json.dumps(content))
    assert begin_lab(tmp_path, SIZES["small"]).size.has_dense


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="no benchmark's directory"):
        begin_lab(tmp_path, SIZES["small"])
    with pytest.raises(InputError, match=r"python -m nulls_dist\.benchmark run"):
        open_lab(tmp_path)


def test_controls_have_settings_of_their_own_and_models_with_sinks_do_not():
    size = replace(SIZES["small"], settings={"a": 1, "b": 1}, control_settings={"active": {"a": 2}})
    found = {arm.name: size.settings_of(arm) for arm in ARMS}
    assert found["dense_active"] == found["dense_active_retrained"] == {"a": 2, "b": 1}
    assert found["nulls"] == found["nulls_retrained"] == found["dense_total"] == {"a": 1, "b": 1}
