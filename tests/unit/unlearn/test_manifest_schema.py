"""The published schemas of the manifests say what is written and what is accepted."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.cli import run_command
from nulls_dist.unlearn.describe import FORMAT_VERSION
from nulls_dist.unlearn.manifest_form import PRIVATE_HASH, RUN_FORM, SOURCE_FORM
from nulls_dist.unlearn.overlap import MAX_LISTED, NUM_LARGEST
from tests.checkpoint_factory import build_checkpoint, key_id, tiny_model
from tools import build_manifests

DOCS = Path(__file__).parents[3] / "docs"


def schema(kind):
    return json.loads((DOCS / f"{kind}_manifest.schema.json").read_text())


@pytest.fixture(scope="module", params=["plain", "private"])
def written(request, tmp_path_factory):
    """Manifests of a checkpoint with a deleted source, with and without a private one."""
    folder = tmp_path_factory.mktemp("schema")
    root = build_checkpoint(
        folder / "checkpoint",
        model=tiny_model(num_sinks=64),
        tombstones=(Tombstone(source_id=key_id("k-4"), grade=Grade.SUPPRESSED),),
        private_sources=[key_id("k-3")] if request.param == "private" else [],
    )
    (folder / "sources.txt").write_text("k-3\nk-4\nk-5\n")
    arguments = [root, folder / "sources.txt", "--out", folder / "manifests"]
    assert run_command(build_manifests.main, list(map(str, arguments))) == 0
    return folder / "manifests"


def test_what_is_written_is_valid(written):
    run = json.loads((written / "run.json").read_text())
    Draft202012Validator(schema("run")).validate(run)
    sources = [json.loads(path.read_text()) for path in (written / "sources").iterdir()]
    assert len(sources) == 3
    for content in sources:
        Draft202012Validator(schema("source")).validate(content)
    for kind, content in (("run", run), ("source", sources[0])):
        for change in ({"router_sha256": "0"}, {"format_version": 2}, {"surprise": 1}):
            with pytest.raises(ValidationError):
                Draft202012Validator(schema(kind)).validate(content | change)


@pytest.mark.parametrize("kind", ["run", "source"])
def test_the_schemas_are_valid_and_describe_this_version(kind):
    content = schema(kind)
    Draft202012Validator.check_schema(content)
    assert content["properties"]["format_version"] == {"const": FORMAT_VERSION}


def test_long_lists_end_where_the_schema_says():
    overlap = schema("source")["properties"]["overlap"]["properties"]
    limits = {name: overlap[name]["maxItems"] for name in ("named", "largest", "twins")}
    assert limits == {"named": MAX_LISTED, "largest": NUM_LARGEST, "twins": MAX_LISTED}


def check_same_fields(form, described, definitions):
    """Fail unless a form and a schema name the same fields at every level."""
    if "$ref" in described:
        described = definitions[described["$ref"].rpartition("/")[2]]
    if isinstance(form, dict):
        names = described["properties"].keys() - {PRIVATE_HASH}
        assert names == form.keys() == set(described["required"])
        assert described["additionalProperties"] is False
        for name, part in form.items():
            check_same_fields(part, described["properties"][name], definitions)
    elif isinstance(form, list):
        assert described["type"] == "array"
        check_same_fields(form[0], described["items"], definitions)


@pytest.mark.parametrize(("kind", "form"), [("run", RUN_FORM), ("source", SOURCE_FORM)])
def test_what_is_accepted_has_the_fields_of_the_schema(kind, form):
    content = schema(kind)
    assert PRIVATE_HASH in content["properties"]
    check_same_fields(form, content, content["$defs"])
