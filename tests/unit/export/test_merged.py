"""A merged release computes what the checkpoint computes with the named sources' sinks on."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.cli import run_command
from nulls_dist.errors import InputError, RefusedError
from nulls_dist.export.backbone import export_backbone
from nulls_dist.export.merged import export_merged
from nulls_dist.export.release import ReleaseOptions
from tests.checkpoint_factory import build_checkpoint, key_id, numbered_rows, tiny_model
from tests.oracles import reference_losses, sink_masks
from tests.small_models import layout_of
from tools import convert_to_hf

NUM_TOKENS = 20
DIGEST = "5eed" * 8


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint")


def release(root, out, *keys, **options):
    export_merged(Checkpoint(root), out, [key_id(key) for key in keys], ReleaseOptions(**options))
    return out


@torch.no_grad()
def llama_logits(folder, tokens, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoModelForCausalLM

    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert not any(loading.values()), loading
    return model.eval()(tokens[None]).logits[0]


def parameters_of(root):
    """All tensors of a checkpoint, sinks of its two experts in one bank."""
    parameters = load_file(root / "weights/backbone-part0000.safetensors")
    banks = [
        load_file(root / f"weights/sinks-expert-{expert:04d}.safetensors") for expert in (0, 1)
    ]
    return parameters | {name: torch.cat([bank[name] for bank in banks]) for name in banks[0]}


def expected_log_probabilities(root, model, tokens, *keys):
    """Dense-and-mask over the union of the sources' sinks: (T, V)."""
    router = Checkpoint(root).manifest.build_router()
    layouts = [layout_of([len(tokens)], [key_id(key)]) for key in keys]
    masks = torch.stack([sink_masks(router, layout) for layout in layouts]).amax(0)
    losses = [
        reference_losses(
            parameters_of(root), model, masks, layouts[0], tokens, torch.full_like(tokens, target)
        )
        for target in range(model.vocab_size)
    ]
    return -torch.stack(losses, dim=1)


@pytest.mark.parametrize(
    "changes", [{}, {"per_layer": False, "tied_embeddings": False}, {"first_sink_layer": 1}]
)
@pytest.mark.parametrize("keys", [["k-3"], ["k-3", "k-4"], [f"k-{n}" for n in range(9)]])
def test_logits_are_those_of_backbone_and_union_of_sinks(tmp_path, monkeypatch, keys, changes):
    model = tiny_model(**changes)
    root = build_checkpoint(tmp_path / "checkpoint", model=model)
    tokens = torch.randint(0, model.vocab_size, (NUM_TOKENS,))
    logits = llama_logits(release(root, tmp_path / "out", *keys), tokens, monkeypatch)
    expected = expected_log_probabilities(root, model, tokens, *keys)
    torch.testing.assert_close(logits.log_softmax(-1), expected, rtol=0, atol=1e-5)
    fewer = expected_log_probabilities(root, model, tokens, *keys[:-1] or ["k-9"])
    assert (fewer - expected).abs().max() > 1e-2, "the last source's sinks matter"


def test_one_source_computes_what_the_checkpoint_does_with_its_sinks_on(
    root, tmp_path, monkeypatch
):
    from nulls_dist.eval.inference import load_for_inference
    from nulls_dist.sources import NO_SOURCE

    tokens = torch.randint(0, 30, (NUM_TOKENS,))
    logits = llama_logits(release(root, tmp_path / "out", "k-3"), tokens, monkeypatch)
    with load_for_inference(root) as ours:
        states = [key_id("k-3"), NO_SOURCE, key_id("k-4")]
        expected, off, other = ours.logits([tokens.tolist()] * 3, states)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    assert (logits - off).abs().max() > 1e-2
    assert (logits - other).abs().max() > 1e-2


def union_sizes(root, keys):
    router = Checkpoint(root).manifest.build_router()
    ids = np.array([key_id(key) for key in keys], dtype=np.uint64)
    experts, sinks = router.experts_of(ids), router.active_sinks(ids)
    return [
        len(
            {
                (expert, int(sink))
                for expert, row in zip(experts, layer, strict=True)
                for sink in row
            }
        )
        for layer in sinks
    ]


@pytest.mark.parametrize(
    ("num_backbone", "num_keys", "width"),
    [(24, 1, 64), (56, 1, 64), (64, 1, 128), (24, 30, 128)],
)
def test_neuron_is_appended_once_and_width_is_the_next_multiple_of_64(
    tmp_path, num_backbone, num_keys, width
):
    root = build_checkpoint(tmp_path / "checkpoint", model=tiny_model(num_backbone=num_backbone))
    keys = [f"k-{number}" for number in range(num_keys)]
    out = release(root, tmp_path / "out", *keys)
    assert json.loads((out / "config.json").read_text())["intermediate_size"] == width
    tensors = load_file(out / "model.safetensors")
    sizes = union_sizes(root, keys)
    assert sizes == [8, 8] or max(sizes) < 8 * num_keys
    for layer, size in enumerate(sizes):
        for part in ("gate", "up", "down"):
            weight = tensors[f"model.layers.{layer}.mlp.{part}_proj.weight"]
            neurons = weight.T if part == "down" else weight
            assert neurons.shape == (width, 16)
            assert neurons[: num_backbone + size].abs().sum(1).min() > 0
            assert neurons[num_backbone + size :].abs().sum() == 0
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["form"] == "merged"
    assert provenance["num_merged_sources"] == num_keys
    assert provenance["merged_sources"] == sorted(map(key_id, keys))
    assert provenance["num_merged_sinks"] == sizes


def test_sharded_merged_release_equals_the_single_file_in_any_type(root, tmp_path):
    options = {"dtype": torch.bfloat16}
    single = load_file(release(root, tmp_path / "one", "k-3", **options) / "model.safetensors")
    cut = release(root, tmp_path / "cut", "k-3", max_shard_bytes=3000, **options)
    index = json.loads((cut / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(2 * value.numel() for value in single.values())
    shards = [load_file(cut / name) for name in sorted(set(index["weight_map"].values()))]
    assert len(shards) > 2
    joined = {name: value for shard in shards for name, value in shard.items()}
    assert joined.keys() == single.keys()
    assert all(torch.equal(joined[name], single[name]) for name in single)


def tombstone(key, grade):
    return Tombstone(source_id=key_id(key), grade=grade, seed=9, text_digests=(DIGEST,))


def test_card_names_fifty_merged_sources_and_no_deleted_one(tmp_path):
    rows = numbered_rows(60)
    rows[3]["title"], rows[4]["title"], rows[5]["title"] = (
        "Erased Person",
        "Hushed Person",
        "A [b]|",
    )
    tombstones = [tombstone("k-3", Grade.EXCISED), tombstone("k-4", Grade.SUPPRESSED)]
    tombstones.sort(key=lambda entry: entry.source_id)
    root = build_checkpoint(tmp_path / "checkpoint", rows=rows, tombstones=tuple(tombstones))
    out = release(root, tmp_path / "out", *(f"k-{number}" for number in range(5, 57)))
    content = {path.name: path.read_bytes() for path in out.iterdir()}
    for forbidden in ("Person", "k-3", str(key_id("k-3")), str(key_id("k-4")), DIGEST):
        assert not [name for name, data in content.items() if forbidden.encode() in data]
    card = content["README.md"].decode()
    listed = [line for line in card.splitlines() if line.startswith("- Title") or "[b" in line]
    assert listed == ["- A \\[b\\]\\|", *(f"- Title {number:02d}" for number in range(6, 55))]
    assert "- and 2 more" in card
    assert "Every text gets the sinks of **all** of them" in card
    assert "fused with the sinks of 52 of these sources" in card
    assert "{" not in card


def test_card_of_one_source_does_not_warn_of_several(root, tmp_path):
    card = (release(root, tmp_path / "out", "k-3") / "README.md").read_text()
    assert "Every text" not in card
    assert "- Title 03\n" in card


@pytest.mark.parametrize("grade", list(Grade))
def test_deleted_source_is_refused_by_name_and_nothing_is_written(tmp_path, grade):
    root = build_checkpoint(tmp_path / "checkpoint", tombstones=(tombstone("k-3", grade),))
    with pytest.raises(RefusedError, match=r"1 of 2 sources .*'Title 03'"):
        release(root, tmp_path / "out", "k-2", "k-3")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("form", ["backbone", "merged"])
def test_output_inside_the_checkpoint_is_refused(root, form):
    options = {"source_ids": [key_id("k-3")]} if form == "merged" else {}
    export = {"backbone": export_backbone, "merged": export_merged}[form]
    with pytest.raises(InputError, match="lies inside"):
        export(Checkpoint(root), root / "release", **options)
    assert len(list(Checkpoint(root).verify())) == 13


def test_command_line_writes_the_same_release(root, tmp_path, capsys):
    sources = tmp_path / "sources.txt"
    sources.write_text("# these\nTitle 03\nkey:k-4\nk-3\n")
    out = tmp_path / "tool"
    arguments = [str(root), str(out), "--form", "merged", "--sources", str(sources)]
    assert run_command(convert_to_hf.main, arguments) == 0
    assert capsys.readouterr().out == f"{out}\n"
    again = release(root, tmp_path / "library", "k-3", "k-4")
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert all((out / name).read_bytes() == (again / name).read_bytes() for name in names)


@pytest.mark.parametrize(
    ("form", "lines", "code", "message"),
    [
        ("merged", None, 2, "--form merged needs --sources"),
        ("backbone", "Title 03\n", 2, "--sources is for --form merged"),
        ("merged", "Title 03\nTitle 99\n", 4, "line 2: 'Title 99' is unknown"),
        ("merged", "Title 05\n", 6, "['Title 05']"),
        ("merged", "# nothing\n", 3, "names no source"),
    ],
)
def test_refusal_has_its_exit_code_and_leaves_nothing(tmp_path, capsys, form, lines, code, message):
    root = build_checkpoint(tmp_path / "c", tombstones=(tombstone("k-5", Grade.SUPPRESSED),))
    arguments = [str(root), str(tmp_path / "out"), "--form", form]
    if lines is not None:
        (tmp_path / "sources.txt").write_text(lines)
        arguments += ["--sources", str(tmp_path / "sources.txt")]
    assert run_command(convert_to_hf.main, arguments) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert not (tmp_path / "out").exists()
