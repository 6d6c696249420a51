"""A released backbone loads as a plain Llama and computes what the checkpoint's tensors say."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.checkpoint.store import Checkpoint, write_tensors
from nulls_dist.durable import sha256_file
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.export.backbone import export_backbone
from nulls_dist.export.release import ReleaseOptions
from tests.checkpoint_factory import (
    build_checkpoint,
    key_id,
    model_without_sinks,
    numbered_rows,
    tiny_model,
    write_manifest,
    write_tokenizer,
)

DIGEST = "5eed" * 8


def release(root, out, **options):
    export_backbone(Checkpoint(root), out, ReleaseOptions(**options))
    return out


def load_llama(folder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoModelForCausalLM

    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert not any(loading.values()), loading
    return model.eval()


def rotate(x, theta):
    half = x.size(-1) // 2
    angles = torch.arange(x.size(-3))[:, None] / theta ** (torch.arange(half) / half)
    cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


def backbone_logits(weights, model, tokens):
    """The backbone in plain operations on Megatron's tensors: (T,) tokens -> (T, V) logits."""
    num_kv, width = model.num_kv_heads, model.head_dim
    queries_per_group = model.num_heads // num_kv
    x = weights["embedding.word_embeddings.weight"][tokens]
    for layer in range(model.num_layers):
        tensors = {
            name.removeprefix(f"decoder.layers.{layer}."): tensor
            for name, tensor in weights.items()
            if name.startswith(f"decoder.layers.{layer}.")
        }
        normed = functional.rms_norm(
            x, (16,), tensors["input_layernorm.weight"], eps=model.norm_eps
        )
        fused = (normed @ tensors["self_attention.linear_qkv.weight"].T).unflatten(
            -1, (num_kv, queries_per_group + 2, width)
        )
        attended = []
        for group in range(num_kv):
            key = rotate(fused[:, group, -2:-1], model.rope_theta)[:, 0]
            value = fused[:, group, -1]
            for head in range(queries_per_group):
                query = rotate(fused[:, group, head : head + 1], model.rope_theta)[:, 0]
                scores = query @ key.T / width**0.5
                future = torch.ones_like(scores).triu(1).bool()
                attended.append(scores.masked_fill(future, -torch.inf).softmax(-1) @ value)
        x = x + torch.cat(attended, -1) @ tensors["self_attention.linear_proj.weight"].T
        normed = functional.rms_norm(
            x, (16,), tensors["pre_mlp_layernorm.weight"], eps=model.norm_eps
        )
        gate, up = (normed @ tensors["mlp.backbone.linear_fc1.weight"].T).chunk(2, -1)
        x = x + (functional.silu(gate) * up) @ tensors["mlp.backbone.linear_fc2.weight"].T
    x = functional.rms_norm(x, (16,), weights["decoder.final_layernorm.weight"], eps=model.norm_eps)
    embedding = weights["embedding.word_embeddings.weight"]
    return x @ weights.get("output_layer.weight", embedding).T


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tied_embeddings": False},
        {"rope_theta": 500.0, "norm_eps": 0.1, "num_heads": 8, "num_kv_heads": 1},
    ],
)
def test_llama_computes_what_the_tensors_say(tmp_path, monkeypatch, changes):
    model = tiny_model(**changes)
    root = build_checkpoint(tmp_path / "checkpoint", model=model)
    llama = load_llama(release(root, tmp_path / "out"), monkeypatch)
    tokens = torch.randint(0, 30, (32,))
    with torch.no_grad():
        found = llama(tokens[None]).logits[0]
    expected = backbone_logits(
        load_file(root / "weights/backbone-part0000.safetensors"), model, tokens
    )
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_sharded_release_equals_the_single_file(tmp_path, monkeypatch):
    root = build_checkpoint(tmp_path / "checkpoint", model=tiny_model(tied_embeddings=False))
    single = load_llama(release(root, tmp_path / "single"), monkeypatch)
    cut = release(root, tmp_path / "cut", max_shard_bytes=6000)
    index = json.loads((cut / "model.safetensors.index.json").read_text())
    shards = sorted(path.name for path in cut.glob("*.safetensors"))
    assert len(shards) > 2
    assert shards[0] == f"model-00001-of-{len(shards):05d}.safetensors"
    assert sorted(set(index["weight_map"].values())) == shards
    assert all((cut / name).stat().st_size < 6000 + 2000 for name in shards)
    parameters = dict(single.named_parameters())
    assert index["metadata"]["total_size"] == sum(4 * p.numel() for p in parameters.values())
    for name, parameter in load_llama(cut, monkeypatch).named_parameters():
        assert torch.equal(parameter, parameters[name])


def test_dtype_is_that_of_the_checkpoint_or_the_one_asked_for(tmp_path):
    root = build_checkpoint(tmp_path / "checkpoint", dtype=torch.bfloat16)
    for options, expected in (({}, "bfloat16"), ({"dtype": torch.float16}, "float16")):
        out = release(root, tmp_path / expected, **options)
        config = json.loads((out / "config.json").read_text())
        assert config["dtype"] == config["torch_dtype"] == expected
        kinds = {values.dtype for values in load_file(out / "model.safetensors").values()}
        assert kinds == {getattr(torch, expected)}


def test_config_is_read_by_both_generations_of_readers(tmp_path):
    from transformers import AutoConfig

    root = build_checkpoint(tmp_path / "checkpoint", model=tiny_model(rope_theta=500.0))
    out = release(root, tmp_path / "out")
    stored = json.loads((out / "config.json").read_text())
    assert stored["rope_theta"] == 500.0
    config = AutoConfig.from_pretrained(out)
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 500.0}
    assert (config.eos_token_id, config.bos_token_id) == (0, None)
    assert config.max_position_embeddings == 32
    assert "auto_map" not in stored


def test_tokenizer_of_the_release_loads_and_ends_documents_alike(tmp_path):
    from transformers import AutoTokenizer

    out = release(build_checkpoint(tmp_path / "checkpoint"), tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer("the_a", add_special_tokens=False).input_ids == [28, 6, 1, 2]
    assert tokenizer.eos_token_id == 0
    assert tokenizer.model_max_length == 32


def test_nothing_in_a_release_names_a_deleted_source_or_holds_a_sink(tmp_path):
    rows = numbered_rows()
    rows[3]["title"], rows[4]["title"] = "Erased Person", "Hushed Person"
    rows[5]["licence"] = "Odd|licence\n# heading"
    tombstones = sorted(
        (
            Tombstone(source_id=key_id("k-3"), grade=Grade.EXCISED, seed=9, text_digests=(DIGEST,)),
            Tombstone(source_id=key_id("k-4"), grade=Grade.SUPPRESSED),
        ),
        key=lambda entry: entry.source_id,
    )
    root = build_checkpoint(tmp_path / "checkpoint", rows=rows, tombstones=tuple(tombstones))
    out = release(root, tmp_path / "out")
    content = {path.name: path.read_bytes() for path in out.iterdir()}
    for forbidden in ("Person", "k-3", str(key_id("k-3")), str(key_id("k-4")), DIGEST):
        assert not [name for name, data in content.items() if forbidden.encode() in data]
    assert not [name for name in load_file(out / "model.safetensors") if "sink" in name]
    card = content["README.md"].decode()
    assert "- Excised sources: 1." in card
    assert "- Suppressed sources: 1." in card
    assert "| corpus | testwiki |" in card
    assert "- CC0: 39 sources" in card
    assert "- Odd\\|licence # heading: 1 sources" in card
    assert card.startswith("---\nlibrary_name: transformers\n")
    provenance = json.loads(content["provenance.json"])
    assert provenance["num_deleted_sources"] == {"suppressed": 1, "excised": 1}
    recorded = {record["path"]: record["sha256"] for record in provenance["files"]}
    assert recorded == {
        name: sha256_file(out / name) for name in content if name != "provenance.json"
    }
    assert provenance["checkpoint_manifest_sha256"] == sha256_file(root / "manifest.json")


def test_a_model_without_sinks_is_released_whole_and_does_not_claim_to_be_a_part(
    tmp_path, monkeypatch
):
    root = build_checkpoint(tmp_path / "checkpoint", model=model_without_sinks())
    out = release(root, tmp_path / "out")
    llama = load_llama(out, monkeypatch)
    tokens = torch.randint(0, 30, (32,))
    with torch.no_grad():
        found = llama(tokens[None]).logits[0]
    weights = load_file(root / "weights/backbone-part0000.safetensors")
    expected = backbone_logits(weights, model_without_sinks(), tokens)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    stored = sum(tensor.numel() for tensor in weights.values())
    assert sum(parameter.numel() for parameter in llama.parameters()) == stored
    card = (out / "README.md").read_text()
    assert "# Language model without sinks" in card
    assert "| neurons per MLP | 40 |" in card
    assert "pool of sink neurons" not in card


def test_unmapped_or_missing_tensor_is_an_error_and_leaves_nothing(tmp_path):
    model = tiny_model()
    for number, change in enumerate(("extra", "missing", "renamed")):
        root = build_checkpoint(tmp_path / f"checkpoint-{number}")
        file = root / "weights/backbone-part0000.safetensors"
        tensors = load_file(file)
        norm = "decoder.final_layernorm.weight"
        if change != "extra":
            norm_weight = tensors.pop(norm)
        if change != "missing":
            tensors["decoder.final_layernorm.bias"] = torch.zeros(16)
        write_tensors(file, tensors)
        write_manifest(root, model, 100, write_tokenizer(root / "tokenizer/tokenizer.json"))
        with pytest.raises(IntegrityError, match="final_layernorm"):
            release(root, tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            f"checkpoint-{done}" for done in range(number + 1)
        ]
    assert norm_weight.shape == (16,)


def test_output_that_exists_is_refused(tmp_path):
    root = build_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists already"):
        release(root, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
