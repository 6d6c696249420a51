"""What a deletion promises of the files it writes."""

import filecmp
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nulls_dist.checkpoint.completeness import check_tensors
from nulls_dist.checkpoint.format import Grade, Tombstone, read_manifest
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.durable import check_file
from nulls_dist.errors import InputError, IntegrityError, RefusedError
from nulls_dist.initial_values import initial_rows
from nulls_dist.unlearn.excise import excision_seed
from nulls_dist.unlearn.plan import check_budget, open_sources, plan_deletion
from nulls_dist.unlearn.strip import default_output, verify_excisions
from tests.checkpoint_factory import build_checkpoint, edit_manifest, key_id, tiny_model
from tests.deletions import write_stripped

KINDS = ("weight", "master", "exp_avg", "exp_avg_sq")
PARTS = ("gate", "up", "down")
MODEL = tiny_model()


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("original") / "checkpoint")


def strip(root: Path, out: Path, *keys: str, grade=Grade.EXCISED) -> Path:
    checkpoint = Checkpoint(root)
    plan = plan_deletion(checkpoint, open_sources(checkpoint), list(map(key_id, keys)), grade)
    write_stripped(checkpoint, plan, out)
    return out


def sink_state(root: Path) -> dict[tuple[int, str, int, str], torch.Tensor]:
    """Full tensors by (expert, kind, layer, part), fragments put together by hand."""
    state = {
        (expert, kind, layer, part): torch.full((32, 16), torch.nan)
        for expert in range(2)
        for kind in KINDS
        for layer in range(2)
        for part in PARTS
    }
    for path in root.rglob("*sinks-expert-*.safetensors"):
        expert = int(path.name.split("-")[2][:4])
        for name, values in load_file(path).items():
            kind, _, rest = name.rpartition("/")
            parameter, _, start = rest.partition("@")
            _, _, layer, _, _, part = parameter.split(".")
            whole = state[expert, kind or "weight", int(layer), part]
            if kind:
                whole.view(-1)[int(start) : int(start) + len(values)] = values
            else:
                state[expert, "weight", int(layer), part] = values
    assert not any(values.isnan().any() for values in state.values())
    return state


def excised_rows(root: Path, *keys: str) -> dict[tuple[int, int], set[int]]:
    """Sinks by (expert, layer), looked up source by source."""
    router = Checkpoint(root).manifest.build_router()
    rows = {(expert, layer): set() for expert in range(2) for layer in range(2)}
    for key in keys:
        source = torch.tensor([0]).numpy().astype("uint64")
        source[0] = key_id(key)
        expert = int(router.experts_of(source)[0])
        for layer in range(2):
            rows[expert, layer] |= set(map(int, router.active_sinks(source)[layer, 0]))
    return rows


def files_of(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def assert_equal_directories(first: Path, second: Path) -> None:
    names = files_of(first)
    assert names == files_of(second)
    assert filecmp.cmpfiles(first, second, names, shallow=False)[0] == names


def fresh_row(expert: int, layer: int, part: str, sink: int, dtype: torch.dtype) -> torch.Tensor:
    return initial_rows(
        seed=excision_seed(100),
        name=f"decoder.layers.{layer}.mlp.sinks.{part}",
        rows=torch.tensor([expert * 32 + sink]),
        width=16,
        std=0.6 / 4,  # 0.6 / sqrt(hidden_size)
        dtype=dtype,
    )[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_excised_rows_hold_zero_or_the_drawn_values_and_all_else_is_untouched(tmp_path, dtype):
    root = build_checkpoint(tmp_path / "a", dtype=dtype)
    keys = ("k-3", "k-7", "k-11")
    out = strip(root, tmp_path / "b", *keys)
    rows = excised_rows(root, *keys)
    assert all(rows.values()), "the test wants sources of both experts"
    before, after = sink_state(root), sink_state(out)
    for (expert, kind, layer, part), values in after.items():
        of_kind = dtype if kind == "weight" else torch.float32
        assert values.dtype == of_kind
        for sink in range(32):
            if sink not in rows[expert, layer]:
                assert torch.equal(values[sink], before[expert, kind, layer, part][sink])
            elif part == "down" or kind.startswith("exp_avg"):
                assert torch.equal(values[sink], torch.zeros(16, dtype=of_kind))
            else:
                assert torch.equal(values[sink], fresh_row(expert, layer, part, sink, of_kind))
    for part in ("gate", "up"):
        rounded = after[0, "master", 0, part].to(dtype)
        for sink in rows[0, 0]:
            assert torch.equal(rounded[sink], after[0, "weight", 0, part][sink])


def test_layers_below_the_first_with_sinks_are_untouched_and_the_others_as_without_them(tmp_path):
    """The router counts layers with sinks: those of a model without others are its oracle."""
    keys = ("k-3", "k-7")
    root = build_checkpoint(tmp_path / "a", model=tiny_model(num_layers=3, first_sink_layer=1))
    out = strip(root, tmp_path / "b", *keys)
    rows = excised_rows(root, *keys)
    assert rows == excised_rows(build_checkpoint(tmp_path / "c"), *keys)
    for expert in range(2):
        file = f"weights/sinks-expert-{expert:04d}.safetensors"
        before, after = load_file(root / file), load_file(out / file)
        assert {name.split(".")[2] for name in after} == {"1", "2"}
        for name, values in after.items():
            changed = (values != before[name]).any(dim=1).nonzero().flatten().tolist()
            assert set(changed) == rows[expert, int(name.split(".")[2]) - 1]
    assert len(list(Checkpoint(out).verify())) == len(files_of(root)) - 1


def test_only_files_of_the_experts_concerned_are_new(original, tmp_path):
    out = strip(original, tmp_path / "out", "k-3", "k-7")
    (expert,) = {
        expert for (expert, _), rows in excised_rows(original, "k-3", "k-7").items() if rows
    }
    names = files_of(original)
    assert files_of(out) == names
    new = {name for name in names if not os.path.samefile(original / name, out / name)}
    assert new == {
        "manifest.json",
        f"weights/sinks-expert-{expert:04d}.safetensors",
        f"optimizer/sinks-expert-{expert:04d}-part0000.safetensors",
        f"optimizer/sinks-expert-{expert:04d}-part0001.safetensors",
    }
    assert len(list(Checkpoint(out).verify())) == len(names) - 1
    assert check_tensors(Checkpoint(out)) == check_tensors(Checkpoint(original))


def test_suppression_writes_tombstones_and_no_other_byte(original, tmp_path):
    out = strip(original, tmp_path / "out", "k-3", grade=Grade.SUPPRESSED)
    names = files_of(original)
    new = [name for name in names if not os.path.samefile(original / name, out / name)]
    assert new == ["manifest.json"]
    before, after = read_manifest(original), read_manifest(out)
    assert after.tombstones == (Tombstone(source_id=key_id("k-3"), grade=Grade.SUPPRESSED),)
    assert after.files == before.files


def test_deleted_source_is_never_routed_again(original, tmp_path):
    out = strip(original, tmp_path / "out", "k-3")
    with pytest.raises(RefusedError, match="tombstone"):
        excised_rows(out, "k-3")
    assert excised_rows(out, "k-4") == excised_rows(original, "k-4")


def test_tombstones_are_sorted_and_record_the_seed(original, tmp_path):
    keys = [f"k-{number}" for number in range(9)]
    entries = read_manifest(strip(original, tmp_path / "out", *keys)).tombstones
    assert [entry.source_id for entry in entries] == sorted(map(key_id, keys))
    assert {(entry.grade, entry.seed) for entry in entries} == {(Grade.EXCISED, excision_seed(100))}


def test_order_of_deletions_does_not_matter(original, tmp_path):
    at_once = strip(original, tmp_path / "at-once", "k-1", "k-2", "k-3")
    first = strip(original, tmp_path / "first", "k-3")
    forward = strip(first, tmp_path / "forward", "k-2", "k-1")
    second = strip(original, tmp_path / "second", "k-1")
    third = strip(second, tmp_path / "third", "k-2")
    backward = strip(third, tmp_path / "backward", "k-3")
    assert_equal_directories(at_once, forward)
    assert_equal_directories(at_once, backward)


def test_deleting_twice_changes_nothing(original, tmp_path):
    once = strip(original, tmp_path / "once", "k-1", "k-2")
    assert_equal_directories(once, strip(once, tmp_path / "twice", "k-2", "k-1"))


def test_suppressed_source_can_be_excised_but_never_the_reverse(original, tmp_path):
    suppressed = strip(original, tmp_path / "suppressed", "k-1", grade=Grade.SUPPRESSED)
    excised = strip(suppressed, tmp_path / "excised", "k-1")
    assert_equal_directories(excised, strip(original, tmp_path / "direct", "k-1"))
    again = strip(excised, tmp_path / "again", "k-1", grade=Grade.SUPPRESSED)
    assert_equal_directories(excised, again)


def test_repeated_deletion_is_listed_and_costs_nothing(original, tmp_path):
    out = strip(original, tmp_path / "out", "k-1")
    checkpoint = Checkpoint(out)
    plan = plan_deletion(
        checkpoint, open_sources(checkpoint), [key_id("k-1"), key_id("k-2")], Grade.EXCISED
    )
    assert (plan.already, plan.deleted) == ((key_id("k-1"),), (key_id("k-2"),))
    newly = excised_rows(original, "k-2")
    gone = excised_rows(original, "k-1")
    num_new = sum(len(newly[place] - gone[place]) for place in newly)
    num_gone = sum(len(newly[place] | gone[place]) for place in newly)
    assert plan.collateral.pool_zeroed == num_new / 128
    assert plan.collateral.pool_gone == num_gone / 128
    assert plan.collateral.num_survivors == 38


def test_input_is_byte_for_byte_what_it_was(tmp_path):
    root = build_checkpoint(tmp_path / "a")
    before = {name: (root / name).read_bytes() for name in files_of(root)}
    strip(root, tmp_path / "b", "k-3", "k-7")
    strip(root, tmp_path / "c", "k-3", grade=Grade.SUPPRESSED)
    assert {name: (root / name).read_bytes() for name in files_of(root)} == before


def test_excised_rows_verify_and_a_value_that_came_back_is_found(original, tmp_path):
    out = strip(original, tmp_path / "out", "k-3")
    assert verify_excisions(Checkpoint(original)) == (0, 0)
    # 2 layers x 8 sinks x 3 parts x 4 kinds x 16 values
    assert verify_excisions(Checkpoint(out)) == (1, 3072)
    tombstones = json.loads((out / "manifest.json").read_text())["tombstones"]
    edit_manifest(original_copy := build_checkpoint(tmp_path / "copy"), tombstones=tombstones)
    with pytest.raises(IntegrityError, match="excised rows"):
        verify_excisions(Checkpoint(original_copy))


def test_excision_before_later_training_is_not_held_against_the_checkpoint(original, tmp_path):
    out = strip(original, tmp_path / "out", "k-3")
    tombstones = read_manifest(out).tombstones
    trained = build_checkpoint(tmp_path / "trained", step=200, tombstones=tombstones)
    assert verify_excisions(Checkpoint(trained)) == (0, 0)
    again = strip(trained, tmp_path / "again", "k-4")
    assert verify_excisions(Checkpoint(again)) == (1, 3072)
    seeds = {entry.source_id: entry.seed for entry in read_manifest(again).tombstones}
    assert seeds == {key_id("k-3"): excision_seed(100), key_id("k-4"): excision_seed(200)}


def test_budget_gates_the_mean_and_names_the_ways_out(original):
    checkpoint = Checkpoint(original)
    plan = plan_deletion(checkpoint, open_sources(checkpoint), [key_id("k-3")], Grade.EXCISED)
    doomed = excised_rows(original, "k-3")
    others = [excised_rows(original, f"k-{number}") for number in range(40) if number != 3]
    shared = sum(len(doomed[place] & rows[place]) for rows in others for place in doomed)
    assert plan.collateral.mean == pytest.approx(shared / (39 * 16))
    check_budget(plan, plan.collateral.mean)
    with pytest.raises(
        RefusedError, match=r"\(sources: 1\).*15\.87%.*limit is 5\.00%.*--mode suppress.*fewer"
    ):
        check_budget(plan, 0.05)
    kept = plan_deletion(checkpoint, open_sources(checkpoint), [key_id("k-3")], Grade.SUPPRESSED)
    check_budget(kept, 0.0)


def test_output_is_never_overwritten_nor_put_into_the_input(original, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists already"):
        strip(original, tmp_path / "out", "k-3")
    with pytest.raises(InputError, match="inside"):
        strip(original, original / "out", "k-3")
    assert default_output(tmp_path / "x" / "step-1") == tmp_path / "x" / "step-1-stripped"


def test_output_keeps_its_files_when_the_input_is_removed(tmp_path):
    import shutil

    root = build_checkpoint(tmp_path / "a")
    out = strip(root, tmp_path / "b", "k-3")
    shutil.rmtree(root)
    for record in Checkpoint(out).verify():
        check_file(out, record)
