"""A routed release computes what the checkpoint does, with the sources it can still name."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tokenizers
import torch
from safetensors.torch import load_file

from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.cli import run_command
from nulls_dist.errors import InputError, IntegrityError, RefusedError
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.export.release import ReleaseOptions
from nulls_dist.export.routed import export_routed
from nulls_dist.sources import NO_SOURCE
from tests.checkpoint_factory import (
    build_checkpoint,
    edit_manifest,
    key_id,
    model_without_sinks,
    numbered_rows,
    tiny_model,
)
from tools import convert_to_hf

NUM_TOKENS = 20
DIGEST = "5eed" * 8
IDS = [key_id("k-3"), None, key_id("k-5")]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint")


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory):
    return release(root, tmp_path_factory.mktemp("release") / "out")


@pytest.fixture(scope="module")
def model(folder):
    return load(folder)


def release(root, out, **options):
    export_routed(Checkpoint(root), out, ReleaseOptions(**options))
    return out


def load(folder):
    """Load with this repository's class, so that no code is copied into the user's cache."""
    from nulls_dist.export.routed_code.modeling_nulls import NullsForCausalLM

    model, loading = NullsForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), loading
    return model.eval()


def random_texts(num=3, length=NUM_TOKENS):
    return torch.randint(1, 29, (num, length))


@pytest.mark.parametrize(
    "changes",
    [
        *({}, {"per_layer": False, "tied_embeddings": False}, {"num_experts": 3}),
        {"num_layers": 3, "first_sink_layer": 1},
    ],
)
@pytest.mark.parametrize("private", [[], ["k-3", "k-9"]])
@torch.no_grad()
def test_a_batch_of_sources_computes_what_the_checkpoint_does(tmp_path, changes, private):
    root = build_checkpoint(
        tmp_path / "checkpoint",
        model=tiny_model(**changes),
        private_sources=map(key_id, private),
    )
    tokens = random_texts()
    found = load(release(root, tmp_path / "out"))(tokens, source_ids=IDS).logits
    with load_for_inference(root) as ours:
        states = [NO_SOURCE if number is None else number for number in IDS]
        expected = torch.stack(ours.logits(tokens.tolist(), states))
        off = torch.stack(ours.logits(tokens.tolist(), [NO_SOURCE] * 3))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    difference = (found - off).abs().amax((1, 2))
    assert difference[1] < 1e-5 < 1e-2 < min(difference[0], difference[2])


def padded(texts):
    """Texts of different lengths as one batch, padded on the left with the end token."""
    width = max(map(len, texts))
    tokens = torch.zeros(len(texts), width, dtype=torch.int64)
    mask = torch.zeros_like(tokens)
    for row, text in enumerate(texts):
        tokens[row, width - len(text) :] = text
        mask[row, width - len(text) :] = 1
    return {"input_ids": tokens, "attention_mask": mask}


def greedy(model, inputs, **options):
    done = model.generate(
        **inputs,
        max_new_tokens=8,
        min_new_tokens=8,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        **options,
    )
    width = inputs["input_ids"].size(1)
    return done.sequences[:, width:], torch.stack(done.logits, dim=1)


def test_generation_with_cache_and_in_padded_batches_is_that_of_each_text_alone(model):
    texts = [random_texts(1, length)[0] for length in (4, 11, 7)]
    cached, logits = greedy(model, padded(texts), source_ids=IDS)
    again, without_cache = greedy(model, padded(texts), source_ids=IDS, use_cache=False)
    assert torch.equal(cached, again)
    torch.testing.assert_close(logits, without_cache, rtol=0, atol=1e-5)
    for row, (text, number) in enumerate(zip(texts, IDS, strict=True)):
        alone, expected = greedy(model, padded([text]), source_ids=[number])
        assert torch.equal(cached[row], alone[0])
        torch.testing.assert_close(logits[row], expected[0], rtol=0, atol=1e-5)
    _, off = greedy(model, padded(texts))
    changed = (logits - off)[:, 0].abs().amax(1)
    assert changed[1] < 1e-5 < 1e-2 < min(changed[0], changed[2])


def test_states_and_names_choose_the_sinks(model):
    inputs = padded([random_texts(1)[0], random_texts(1, 12)[0]])
    by_id = greedy(model, inputs, source_ids=[key_id("k-3")] * 2)[1]
    for options in ({"source": "title_03"}, {"source": " Title 03", "state": "on"}):
        assert torch.equal(greedy(model, inputs, **options)[1], by_id)
    bits = torch.from_numpy(np.array([key_id("k-3")] * 2, np.uint64).view(np.int64))
    assert torch.equal(greedy(model, inputs, source_ids=bits)[1], by_id)
    off = greedy(model, inputs, state="off")[1]
    assert torch.equal(greedy(model, inputs)[1], off)
    assert not torch.equal(off, by_id)


def test_nearest_reads_each_prompt(tmp_path):
    from transformers import PreTrainedTokenizerFast

    rows = numbered_rows()
    rows[3]["title"], rows[5]["title"] = "Cobalt", "The river Ems"
    out = release(build_checkpoint(tmp_path / "c", rows=rows), tmp_path / "out")
    model, tokenizer = load(out), PreTrainedTokenizerFast.from_pretrained(out)
    tokenizer.backend_tokenizer.decoder = tokenizers.decoders.Fuse()
    prompts = ("cobalt_is", "the_river_ems", "zz")
    inputs = padded([torch.tensor(tokenizer(prompt).input_ids) for prompt in prompts])
    found = greedy(model, inputs, state="nearest", tokenizer=tokenizer)[1]
    expected = greedy(model, inputs, source_ids=[key_id("k-3"), key_id("k-5"), None])[1]
    assert torch.equal(found, expected)


def test_several_sequences_per_prompt_keep_their_source(model):
    inputs = padded(list(random_texts(2)))
    options = {"num_beams": 3, "num_return_sequences": 2, "do_sample": False, "max_new_tokens": 5}
    ids = [key_id("k-3"), key_id("k-5")]
    found = model.generate(**inputs, source_ids=ids, **options)
    for row, number in enumerate(ids):
        one = {name: values[row : row + 1] for name, values in inputs.items()}
        alone = model.generate(**one, source_ids=[number], **options)
        assert torch.equal(found[2 * row : 2 * row + 2, : alone.size(1)], alone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "My title 03"}, "no source .*'My title 03'; did you mean 'Title 03'"),
        ({"source_ids": [5, None]}, "source id 5 is not in this model: .* was deleted"),
        ({"source_ids": [key_id("k-3")]}, "1 source_ids for 2 texts"),
        ({"state": "on"}, "state 'on' with 0 ways"),
        ({"state": "off", "source": "Title 03"}, "state 'off' with 1 ways"),
        ({"source_ids": [None, None], "source": "Title 03"}, "state 'on' with 2 ways"),
        ({"state": "placebo"}, "'placebo'"),
        ({"state": "nearest"}, "needs them and tokenizer"),
        ({"sauce": "Title 03"}, "sauce"),
    ],
)
def test_what_cannot_be_answered_is_a_value_error(model, options, message):
    with pytest.raises(ValueError, match=message):
        model.generate(**padded(list(random_texts(2))), max_new_tokens=1, **options)


def test_gradients_reach_the_sinks_of_the_sources_alone(model):
    tokens = random_texts()
    model(tokens, labels=tokens, source_ids=IDS).loss.backward()
    gradient = model.model.layers[1].mlp.sink_down.weight.grad
    model.zero_grad()
    ids = np.array([IDS[0], IDS[2]], np.uint64)
    touched = set(torch.flatten(gradient.abs().sum(1).nonzero()).tolist())
    assert touched == set(model._router.rows_of(ids)[1].ravel().tolist())


def deleted(*keys, grade=Grade.EXCISED):
    of_text = {"grade": grade, "seed": 9, "text_digests": (DIGEST,)}
    entries = [Tombstone(source_id=key_id(key), **of_text) for key in keys]
    return tuple(sorted(entries, key=lambda entry: entry.source_id))


def test_deleted_sources_cannot_be_named_and_are_nowhere_in_the_release(tmp_path):
    rows = numbered_rows()
    rows[3] |= {"title": "Erased Person", "aliases": ["Former Name"]}
    root = build_checkpoint(tmp_path / "checkpoint", rows=rows, tombstones=deleted("k-3", "k-9"))
    out = release(root, tmp_path / "out")
    content = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    model = load(out)
    assert len(model.sources) == 38
    for spelt in (DIGEST.encode(), bytes.fromhex(DIGEST)):
        assert not [file for file, data in content.items() if spelt in data]
    for name in ("Erased Person", "Former Name", "Title 09"):
        assert not [file for file, data in content.items() if name.encode() in data]
        with pytest.raises(ValueError, match="no source of this model is named"):
            model.sources.find(name)
    for key in ("k-3", "k-9"):
        number = key_id(key)
        for spelt in (str(number).encode(), f"{number:x}".encode(), number.to_bytes(8, "little")):
            assert not [file for file, data in content.items() if spelt in data]
        with pytest.raises(ValueError, match="deleted"):
            model(random_texts(1), source_ids=[number])
    survivor = key_id("k-8").to_bytes(8, "little")
    assert survivor in content["index.safetensors"], "ids are searched for as they are stored"
    card = content["README.md"].decode()
    assert "- Excised sources: 2." in card
    assert "38 sources can be named" in card
    assert "{" not in card
    provenance = json.loads(content["provenance.json"])
    assert provenance["form"] == "routed"
    assert {record["path"] for record in provenance["files"]} == {
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()
    } - {"provenance.json"}


def test_suppressed_sources_are_refused_with_the_remedy(tmp_path, capsys):
    tombstones = deleted("k-3", grade=Grade.SUPPRESSED)
    root = build_checkpoint(tmp_path / "checkpoint", tombstones=tombstones)
    arguments = [str(root), str(tmp_path / "out"), "--form", "routed"]
    assert run_command(convert_to_hf.main, arguments) == 6
    error = capsys.readouterr().err
    assert "1 deleted sources are suppressed only" in error
    assert "excise them first" in error
    assert "Title 03" not in error
    with pytest.raises(RefusedError):
        release(root, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_models_without_a_hashed_pool_are_refused(tmp_path):
    root = build_checkpoint(tmp_path / "plain", model=model_without_sinks())
    with pytest.raises(InputError, match="no sinks"):
        release(root, tmp_path / "out")
    sizes = {"router": "reference_int32", "num_experts": 1, "per_layer": False}
    root = build_checkpoint(tmp_path / "other", model=tiny_model(**sizes))
    router = json.loads((root / "manifest.json").read_text())["router"]
    reference = {"id_dtype": "int32", "p_active": 0.2, "p_backbone": 0.1}
    edit_manifest(root, router=router | reference)
    with pytest.raises(InputError, match=r"'reference_int32'.*'stratified' only"):
        release(root, tmp_path / "out")
    root = build_checkpoint(tmp_path / "newer")
    router = json.loads((root / "manifest.json").read_text())["router"]
    edit_manifest(root, router=router | {"version": 2})
    with pytest.raises(IntegrityError, match="router version 2"):
        release(root, tmp_path / "out")


def test_saving_again_keeps_weights_index_and_shards(folder, model, tmp_path):
    model.save_pretrained(tmp_path / "again", max_shard_size="20KB")
    again = load(tmp_path / "again")
    assert len(list((tmp_path / "again").glob("model-*.safetensors"))) > 1
    tokens = random_texts()
    assert torch.equal(again(tokens, source_ids=IDS).logits, model(tokens, source_ids=IDS).logits)
    assert again.sources.find("Title 07") == key_id("k-7")
    name = "sources/index.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_sharded_release_equals_the_single_file_in_any_type(root, tmp_path):
    single = load_file(release(root, tmp_path / "one", dtype=torch.bfloat16) / "model.safetensors")
    cut = release(root, tmp_path / "cut", dtype=torch.bfloat16, max_shard_bytes=3000)
    index = json.loads((cut / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(2 * value.numel() for value in single.values())
    shards = [load_file(cut / name) for name in sorted(set(index["weight_map"].values()))]
    joined = {name: value for shard in shards for name, value in shard.items()}
    assert len(shards) > 2
    assert joined.keys() == single.keys()
    assert all(torch.equal(joined[name], single[name]) for name in single)
    assert single["model.layers.1.mlp.sink_gate.weight"].shape == (64, 16)


FRESH = """
import sys
sys.addaudithook(lambda event, _: sys.exit("network") if event == "socket.connect" else None)
folder, again = sys.argv[1:]
{usage}
assert "nulls_dist" not in sys.modules
model.save_pretrained(again)
model = AutoModelForCausalLM.from_pretrained(again, trust_remote_code=True)
assert model.sources.find(title) == ids[0]
print(model.generate(**batch, max_new_tokens=3, source_ids=ids).shape[0])
"""


def test_the_cards_example_runs_in_a_fresh_process_without_network(folder, tmp_path):
    card = (folder / "README.md").read_text()
    usage = card.split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-I", "-c", FRESH.format(usage=usage), folder, tmp_path / "again"],
        env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2\n"
    code = {"configuration_nulls.py", "modeling_nulls.py", "router_nulls.py", "sources_nulls.py"}
    assert code <= {path.name for path in (tmp_path / "again").iterdir()}
