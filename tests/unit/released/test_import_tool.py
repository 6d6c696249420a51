"""The import as a command, and every tool on what it wrote."""

import json
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from nulls_dist.checkpoint.format import Grade
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.cli import run_command
from nulls_dist.errors import InputError
from nulls_dist.released.model_config import read_config
from nulls_dist.released.weights import ReleasedWeights
from nulls_dist.routing.reference import reference_active_sinks
from nulls_dist.unlearn import collateral
from nulls_dist.unlearn.plan import open_sources, plan_deletion
from tests.checkpoint_factory import edit_manifest
from tests.released_model import (
    ALL_ON,
    CONFIG,
    NUM_SINKS,
    TITLES,
    VOCAB,
    random_weights,
    write_release,
    write_titles,
)
from tools import (
    build_manifests,
    convert_to_hf,
    import_reference,
    lookup_source,
    strip_sources,
    verify_checkpoint,
)

TURING = TITLES["Alan Turing"] + VOCAB
TWINS = [TITLES[name] + VOCAB for name in ("Turing's twin", "Turing's other twin")]


def run(tool, *arguments):
    return run_command(tool.main, [str(argument) for argument in arguments])


def import_to(out, release, titles, *options):
    return run(import_reference, release, "--titles", titles, "--out", out, *options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    write_release(folder / "final")
    write_titles(folder / "titles.json")
    assert import_to(folder / "imported", folder / "final", folder / "titles.json") == 0
    return folder


@pytest.fixture
def imported(folder):
    return folder / "imported"


def list_sources(path, *titles):
    path.write_text("".join(f"title:{title}\n" for title in titles))
    return path


def test_the_import_says_who_shares_masks(folder, tmp_path, capsys):
    release, titles = folder / "final", folder / "titles.json"
    assert import_to(tmp_path / "out", release, titles) == 0
    text = capsys.readouterr().out
    assert f"{len(TITLES)} with {len(TITLES) - 2} masks" in text
    assert "up to 3 sources have one and the same mask: excising one of them takes" in text
    assert "1 sources have every sink" in text
    assert import_to(tmp_path / "wide", release, titles, "--ids", "int64", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["router"] == "reference_int64"
    assert (report["max_sharing"], report["num_all_sinks"]) == (1, 0)
    assert report["num_masks"] == report["num_sources"] == len(TITLES)


def test_sources_have_their_index_plus_the_vocabulary_as_id(imported):
    rows = pq.read_table(imported / "sources.parquet").to_pylist()
    assert {row["title"]: row["index"] for row in rows} == TITLES
    assert all(row["source_id"] == row["index"] + VOCAB for row in rows)


def test_verification_finds_every_tensor(imported, capsys):
    assert run(verify_checkpoint, imported, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["num_parameters"] == sum(map(torch.Tensor.numel, random_weights().values()))
    assert report["step"] == 0


def test_look_up_reports_twins(imported, capsys):
    assert run(lookup_source, imported, "Alan Turing", "1984", "--json") == 0
    turing, other = json.loads(capsys.readouterr().out)
    assert (turing["source_id"], turing["num_twins"], turing["state"]) == (TURING, 2, "live")
    assert other["num_twins"] == 0


def test_a_strip_says_that_twins_lose_their_mask_too(imported, tmp_path, capsys):
    sources = list_sources(tmp_path / "sources.txt", "Alan Turing")
    out = tmp_path / "stripped"
    options = ("--out", out, "--max-collateral", 1)
    assert run(strip_sources, imported, sources, "--json", *options) == 0
    cost = json.loads(capsys.readouterr().out)["collateral"]
    assert cost["num_same_mask"] == 2
    assert {entry["source_id"] for entry in cost["worst"] if entry["share"] == 1} == set(TWINS)
    mask = set(reference_active_sinks(TURING, NUM_SINKS, CONFIG["p_mem"]))
    shares = [
        len(mask & own) / len(own)
        for index in TITLES.values()
        if index + VOCAB != TURING
        for own in [set(reference_active_sinks(index + VOCAB, NUM_SINKS, CONFIG["p_mem"]))]
    ]
    assert cost["mean"] == pytest.approx(np.mean(shares))
    assert cost["max"] == 1
    assert run(strip_sources, imported, sources, "--dry-run", *options) == 0
    text = capsys.readouterr().out
    assert "2 surviving sources have the very mask of a deleted one" in text
    assert run(verify_checkpoint, out) == 0
    before, after = (
        load_file(root / "weights/sinks-expert-0000.safetensors") for root in (imported, out)
    )
    for name, rows in before.items():
        changed = np.flatnonzero((rows != after[name]).any(1))
        assert set(changed.tolist()) == mask


def test_an_article_with_every_sink_cannot_be_excised_within_the_budget(imported, tmp_path, capsys):
    sources = list_sources(tmp_path / "sources.txt", "Every sink")
    assert run(strip_sources, imported, sources, "--out", tmp_path / "out") == 6
    assert "would zero 100.00%" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_twins_are_found_among_more_survivors_than_are_measured(imported, tmp_path, monkeypatch):
    monkeypatch.setattr(collateral, "MAX_EXACT", 4)
    checkpoint = Checkpoint(imported)
    plan = plan_deletion(checkpoint, open_sources(checkpoint), [TURING], Grade.EXCISED)
    assert plan.collateral.num_measured == 4
    assert plan.collateral.num_same_mask == 2
    assert {source for source, share in plan.collateral.worst if share == 1} == set(TWINS)


def test_manifests_list_as_many_sinks_as_each_source_has(imported, tmp_path, capsys):
    sources = list_sources(tmp_path / "sources.txt", "Alan Turing", "1984", "Every sink")
    out = tmp_path / "manifests"
    assert run(build_manifests, imported, sources, "--out", out, "--all") == 0
    turing = json.loads((out / "sources" / f"{TURING}.json").read_text())
    mask = reference_active_sinks(TURING, NUM_SINKS, CONFIG["p_mem"])
    assert turing["sinks"] == [mask] * CONFIG["n_layer"]
    assert [twin["source_id"] for twin in turing["overlap"]["twins"]] == TWINS
    whole = {entry["source_id"]: entry["num_slots"] for entry in turing["overlap"]["largest"]}
    assert whole[ALL_ON + VOCAB] == whole[TWINS[0]] == len(mask) * CONFIG["n_layer"]
    for row in pq.read_table(out / "sinks.parquet").to_pylist():
        own = reference_active_sinks(row["source_id"], NUM_SINKS, CONFIG["p_mem"])
        assert row["sinks"] == [own] * CONFIG["n_layer"]


@pytest.mark.parametrize("form", ["backbone", "merged"])
def test_both_forms_of_release_are_written(imported, tmp_path, form):
    out = tmp_path / "hf"
    sources = list_sources(tmp_path / "sources.txt", "1984")
    options = ("--sources", sources) if form == "merged" else ()
    assert run(convert_to_hf, imported, out, "--form", form, *options) == 0
    config = json.loads((out / "config.json").read_text())
    assert "imported from a release of others" in (out / "README.md").read_text()
    assert config["rope_theta"] == CONFIG["rope_base"]
    neurons = load_file(out / "model.safetensors")["model.layers.1.mlp.down_proj.weight"]
    theirs = random_weights()["transformer.h.1.mlp.proj.weight"]
    own = reference_active_sinks(TITLES["1984"] + VOCAB, NUM_SINKS, CONFIG["p_mem"])
    chosen = [*range(17), *(17 + sink for sink in own)] if form == "merged" else range(17)
    assert torch.equal(neurons[:, : len(chosen)], theirs[:, list(chosen)])


def test_training_state_and_compiled_names_are_read_alike(folder, tmp_path):
    state = {f"_orig_mod.{name}": tensor for name, tensor in random_weights().items()}
    content = {"model": state, "optimizer": {"state": {}}, "iter_num": 7, "step_count": 7}
    release = write_release(tmp_path / "final", content)
    assert import_to(tmp_path / "out", release, folder / "titles.json") == 0
    for file in (folder / "imported" / "weights").iterdir():
        assert file.read_bytes() == (tmp_path / "out" / "weights" / file.name).read_bytes()


def test_bfloat16_stays_bfloat16_beside_float32_masters(folder, tmp_path):
    content = {name: tensor.bfloat16() for name, tensor in random_weights().items()}
    release = write_release(tmp_path / "final", content)
    assert import_to(tmp_path / "out", release, folder / "titles.json") == 0
    assert run(verify_checkpoint, tmp_path / "out") == 0
    weights = load_file(tmp_path / "out/weights/backbone-part0000.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def without(name):
    return {key: tensor for key, tensor in random_weights().items() if key != name}


def changed(**tensors):
    return random_weights() | {name.replace("__", "."): one for name, one in tensors.items()}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (without("transformer.h.1.norm_2.weight"), "missing ['transformer.h.1.norm_2.weight']"),
        (changed(transformer__h__0__attn__attn__weight=torch.ones(2)), "unknown ['transformer.h.0"),
        (changed(lm_head__weight=torch.ones(64, 31)), "lm_head.weight has shape (64, 31)"),
        (changed(lm_head__weight=torch.ones(64, 32).half()), "must all be of one type"),
        (changed(lm_head__weight="text"), "lm_head.weight is no dense tensor"),
        ({"model": random_weights(), "spy": 1}, "unknown entries ['spy']"),
        ([torch.ones(3)], "holds list, not tensors by name"),
    ],
)
def test_other_tensors_are_refused_by_name(folder, tmp_path, capsys, content, message):
    release = write_release(tmp_path / "final", content)
    assert import_to(tmp_path / "out", release, folder / "titles.json") == 3
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_a_hostile_pickle_is_refused_and_runs_nothing(folder, tmp_path, capsys):
    target = tmp_path / "touched"
    release = write_release(tmp_path / "final", {"model": Hostile(target)})
    assert import_to(tmp_path / "out", release, folder / "titles.json") == 3
    assert "refused" in capsys.readouterr().err
    (release / "lit_model.pth").write_bytes(pickle.dumps(Hostile(target)))
    assert import_to(tmp_path / "out", release, folder / "titles.json") == 3
    assert not target.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("keep", [0, 100, 20_000])
def test_a_truncated_file_is_refused(folder, tmp_path, capsys, keep):
    release = write_release(tmp_path / "final")
    path = release / "lit_model.pth"
    path.write_bytes(path.read_bytes()[:keep])
    assert import_to(tmp_path / "out", release, folder / "titles.json") == 3
    assert "lit_model.pth: refused" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bits_are_refused_or_read_as_numbers(tmp_path, seed):
    release = write_release(tmp_path / "final")
    path = release / "lit_model.pth"
    whole, draws = path.read_bytes(), random.Random(seed)
    config, num_refused = read_config(release), 0
    for _ in range(20):
        data = bytearray(whole)
        for _ in range(3):
            data[draws.randrange(4000)] ^= 1 << draws.randrange(8)
        path.write_bytes(data)
        try:
            ReleasedWeights(release, config)
        except InputError:
            num_refused += 1
    assert num_refused > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bias": True}, "bias is True; only False"),
        ({"mlp_class_name": "LLaMAMLP"}, "mlp_class_name is 'LLaMAMLP'"),
        ({"rope_condense_ratio": True}, "rope_condense_ratio is True"),
        ({"norm_qk_type": "olmo2"}, "unknown ['norm_qk_type']"),
        ({"name": "Gemma-2b"}, "Gemma"),
        ({"vocab_size": 60}, "vocab_size (60) is not padded_vocab_size (64)"),
        ({"p_gen": 1}, "p_gen is 1, not a positive float"),
        ({"p_gen": 0.0001}, "leave backbone and sinks"),
        ({"n_layer": -2}, "n_layer is -2"),
        ({"norm_eps": float("inf")}, "norm_eps is inf"),
        ({"n_query_groups": 4}, "must divide model.num_heads"),
    ],
)
def test_another_configuration_is_refused_by_field(folder, tmp_path, capsys, changes, message):
    release = write_release(tmp_path / "final", **changes)
    assert import_to(tmp_path / "out", release, folder / "titles.json") == 3
    assert message in capsys.readouterr().err


def test_aliases_of_aliases_are_refused_before_they_are_written_out(folder, tmp_path, capsys):
    levels = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9)]
    release = write_release(tmp_path / "final", attn_bias=[])
    config = release / "model_config.yaml"
    bomb = "\n".join(["a0: &a0 [x]", *levels]).replace("\n", "\n  ")
    config.write_text(config.read_text().replace("attn_bias: []", f"attn_bias:\n  {bomb}"))
    assert import_to(tmp_path / "out", release, folder / "titles.json") == 3
    assert "model_config.yaml: not readable as YAML: it has aliases" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [\n", "!!python/object/apply:os.getcwd []\n"])
def test_a_configuration_that_is_no_mapping_is_refused(folder, tmp_path, capsys, text):
    release = write_release(tmp_path / "final")
    (release / "model_config.yaml").write_text(text)
    assert import_to(tmp_path / "out", release, folder / "titles.json") == 3
    assert "model_config.yaml: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lit_model.pth", "model_config.yaml", "tokenizer.json"])
def test_a_missing_file_is_named(folder, tmp_path, capsys, name):
    release = write_release(tmp_path / "final")
    (release / name).unlink()
    assert import_to(tmp_path / "out", release, folder / "titles.json") == 3
    assert name in capsys.readouterr().err


def test_usage_and_existing_output_have_their_exit_codes(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        run(import_reference, folder / "final")
    assert ended.value.code == 2
    assert import_to(folder / "imported", folder / "final", folder / "titles.json") == 3
    assert "exists already" in capsys.readouterr().err
    inside = folder / "final" / "out"
    assert import_to(inside, folder / "final", folder / "titles.json") == 3


def test_a_router_of_another_kind_than_the_model_s_is_damage(imported, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(imported, root)
    content = json.loads((root / "manifest.json").read_text())
    for changes in ({"id_dtype": "int64"}, {"id_dtype": "int8"}, {"p_active": 2.0}):
        edit_manifest(root, router=content["router"] | changes)
        assert run(verify_checkpoint, root) == 5
