"""A checkpoint and its releases answer alike, and name the same sources."""

import numpy as np
import pytest
import torch

from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.durable import read_json, write_json
from nulls_dist.errors import InputError, IntegrityError, RefusedError, UnknownSourceError
from nulls_dist.eval.subject import open_subject
from nulls_dist.export.backbone import export_backbone
from nulls_dist.export.routed import export_routed
from nulls_dist.sources import NO_SOURCE
from tests.checkpoint_factory import build_checkpoint, key_id, model_without_sinks

DELETED = key_id("k-3")
TEXTS = [[5, 6, 7, 8, 9], [10], [11, 12, 13]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subjects")
    gone = Tombstone(source_id=DELETED, grade=Grade.EXCISED, seed=1)
    root = build_checkpoint(folder / "checkpoint", tombstones=(gone,))
    export_backbone(Checkpoint(root), folder / "backbone")
    export_routed(Checkpoint(root), folder / "routed")
    return folder


def ask(root, source_ids):
    with open_subject(root) as subject:
        return subject.logits(TEXTS, source_ids)


def largest_difference(left, right):
    pairs = list(zip(left, right, strict=True))
    assert [a.shape for a, _ in pairs] == [b.shape for _, b in pairs]
    return max(float((a - b).abs().max()) for a, b in pairs)


def test_releases_answer_as_the_checkpoint_does(folders):
    off = [NO_SOURCE] * 3
    expected = ask(folders / "checkpoint", off)
    assert largest_difference(ask(folders / "backbone", off), expected) < 1e-5
    assert largest_difference(ask(folders / "routed", off), expected) < 1e-5
    mixed = [key_id("k-1"), NO_SOURCE, key_id("k-2")]
    served = ask(folders / "checkpoint", mixed)
    assert largest_difference(ask(folders / "routed", mixed), served) < 1e-5
    assert largest_difference(served, expected) > 1e-3
    assert torch.equal(served[1], expected[1])


@pytest.mark.parametrize("form", ["checkpoint", "routed"])
def test_sources_are_named_as_in_lists(folders, form):
    with open_subject(folders / form) as subject:
        names = ["Title 01", "title 02", f"id:{key_id('k-4')}"]
        assert subject.find_sources(names) == [key_id("k-1"), key_id("k-2"), key_id("k-4")]
        for name in ("Title 99", "id:5", "id:x"):
            with pytest.raises(UnknownSourceError, match=name):
                subject.find_sources([name])
        everyone = sorted(key_id(f"k-{number}") for number in range(40))
        assert subject.survivors.tolist() == [one for one in everyone if one != DELETED]
        assert (subject.eos_id, subject.context_length) == (0, 32)
        assert subject.tokenizer.encode("thaw") == [28, 2, 24]


def test_deleted_sources_are_refused(folders):
    with open_subject(folders / "checkpoint") as subject:
        assert subject.find_sources(["Title 03"]) == [DELETED], "to find another one's sinks"
        with pytest.raises(RefusedError, match="deleted"):
            subject.logits(TEXTS, [DELETED] * 3)
    with (
        open_subject(folders / "routed") as subject,
        pytest.raises(UnknownSourceError, match="no source"),
    ):
        subject.find_sources(["Title 03"])


def test_a_release_without_sinks_has_one_state(folders, tmp_path):
    with open_subject(folders / "backbone") as subject:
        assert subject.survivors.dtype == np.uint64
        assert not len(subject.survivors)
        with pytest.raises(InputError, match="without sinks to choose from"):
            subject.logits(TEXTS, [key_id("k-1")] * 3)
        with pytest.raises(InputError, match="knows no sources"):
            subject.find_sources(["Title 01"])
    control = build_checkpoint(tmp_path / "control", model=model_without_sinks())
    with open_subject(control) as subject:
        assert not len(subject.survivors)


def test_other_folders_are_refused(folders, tmp_path):
    with pytest.raises(InputError, match="neither a checkpoint"), open_subject(tmp_path):
        pass
    for path in (folders / "backbone").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    provenance = read_json(tmp_path / "provenance.json")
    write_json(tmp_path / "provenance.json", {"form": provenance["form"]})
    with pytest.raises(IntegrityError, match="'corpus'; convert again"), open_subject(tmp_path):
        pass
