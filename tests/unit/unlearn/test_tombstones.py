"""Tombstones bind: a deleted source does not train again under another id, name or source."""

from pathlib import Path

import pytest
import xxhash

from data_prep.build import main as build
from nulls_dist.checkpoint.format import Grade, Tombstone, read_manifest
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.corpus import Corpus
from nulls_dist.durable import write_json
from nulls_dist.errors import RefusedError
from nulls_dist.unlearn.plan import open_sources, plan_deletion
from nulls_dist.unlearn.tombstones import open_deleted
from tests.checkpoint_factory import build_checkpoint, key_id
from tests.corpus_contents import read_texts
from tests.text_corpora import build_texts

ALABAMA = "Alabama is a state with many rivers and hills."
DIGEST = xxhash.xxh3_128_hexdigest(ALABAMA.encode())
ROWS = [
    {"source_key": "a", "title": "Alabama", "aliases": ["Bama", f"id:{key_id('taken in')}"]},
    {"source_key": "b", "title": "Rome", "aliases": ["Roma", "alabama"]},
    {"source_key": "c", "title": "Bama"},
]
KEPT = [("b", "Rome", "Rome was not built in one day."), ("c", "Bama", "Bama is a song.")]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model from which Alabama was deleted; two others had its names then."""
    grave = Tombstone(source_id=key_id("a"), grade=Grade.EXCISED, text_digests=(DIGEST,))
    root = tmp_path_factory.mktemp("model") / "checkpoint"
    return build_checkpoint(root, rows=ROWS, tombstones=(grave,))


def refusal(checkpoint: Path, corpus: Path) -> str:
    with pytest.raises(RefusedError) as caught:
        open_deleted(checkpoint).refuse(Corpus(corpus))
    return str(caught.value)


def test_sources_that_stayed_train_on_whatever_they_are_called(checkpoint, tmp_path):
    open_deleted(checkpoint).refuse(Corpus(build_texts(tmp_path / "corpus", KEPT)))


@pytest.mark.parametrize("key", ["a", "taken in"])
def test_a_deleted_source_is_refused_by_id_whatever_it_is_called(checkpoint, tmp_path, key):
    corpus = build_texts(tmp_path / "corpus", [*KEPT, (key, "Renamed", "And rewritten.")])
    said = refusal(checkpoint, corpus)
    assert f"first id:{key_id(key)} ('Renamed')" in said
    assert "--exclude-deleted" in said


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (("x", "alabama_", "A new text."), "Alabama"),
        (("x", "Bama", "A new text."), "Bama"),
        (("b", "Alabama", "Rome under another name."), None),
        (("c", "alabama", "Bama under another name."), "Alabama"),
    ],
)
def test_a_source_that_takes_a_name_of_a_deleted_one_is_refused(checkpoint, tmp_path, row, name):
    """Rome had Alabama as an alias before, so that its title may be that now."""
    corpus = build_texts(tmp_path / "corpus", [*(kept for kept in KEPT if kept[0] != row[0]), row])
    if name is None:
        open_deleted(checkpoint).refuse(Corpus(corpus))
        return
    said = refusal(checkpoint, corpus)
    assert f"first id:{key_id(row[0])} ({row[1]!r})" in said
    assert f"{name!r} is a name of id:{key_id('a')} ('Alabama')" in said


def test_a_source_to_which_the_title_of_a_deleted_one_redirects_is_refused(tmp_path, checkpoint):
    site = "<siteinfo><dbname>testwiki</dbname><base>https://w.org/wiki/M</base></siteinfo>"
    dump = tmp_path / "dump.xml"
    redirect = '<redirect title="State"/><revision><id>1</id><text>#REDIRECT</text></revision>'
    dump.write_text(
        f"<mediawiki>{site}"
        "<page><title>State</title><ns>0</ns><id>7</id>"
        "<revision><id>1</id><text>A state is a state.</text></revision></page>"
        f"<page><title>Alabama</title><ns>0</ns><id>8</id>{redirect}</page></mediawiki>"
    )
    words = f"--input {dump} --format wikipedia --out {tmp_path}/corpus --workers 1"
    build([*words.split(), "--tokenizer", "train:bpe:300", "--partitions", "2"])
    said = refusal(checkpoint, tmp_path / "corpus")
    assert f"first id:{key_id('7')} ('State'): 'Alabama' is a name of id:{key_id('a')}" in said


def test_a_text_of_a_deleted_source_is_refused_under_any_name(checkpoint, tmp_path):
    corpus = build_texts(tmp_path / "corpus", [*KEPT, ("x", "Innocent", ALABAMA)])
    said = refusal(checkpoint, corpus)
    assert "holds 1 document(s) with exactly the text of a source that was deleted" in said
    assert f"first document 0 of id:{key_id('x')} ('Innocent')" in said
    assert f"a text of id:{key_id('a')} ('Alabama')" in said
    nearly = build_texts(tmp_path / "nearly", [*KEPT, ("x", "Innocent", ALABAMA + "!")])
    open_deleted(checkpoint).refuse(Corpus(nearly))


def test_what_a_build_without_the_deleted_gives_is_accepted(checkpoint, tmp_path):
    rows = [
        *KEPT,
        ("a", "Renamed", "And rewritten."),
        ("x", "Bama", "A new text."),
        ("y", "Innocent", ALABAMA),
        ("z", "Zeno", "An arrow does not fly."),
    ]
    corpus = build_texts(tmp_path / "corpus", rows, "--exclude-deleted", checkpoint)
    assert set(read_texts(corpus)) == {"b", "c", "z"}
    open_deleted(checkpoint).refuse(Corpus(corpus))


def test_texts_of_a_tombstone_survive_reading_writing_and_a_higher_grade(tmp_path):
    texts = tuple(sorted((DIGEST, "0" * 32)))
    grave = Tombstone(source_id=key_id("a"), grade=Grade.SUPPRESSED, text_digests=texts)
    root = build_checkpoint(tmp_path / "checkpoint", rows=ROWS, tombstones=(grave,))
    manifest = read_manifest(root)
    assert manifest.tombstones == (grave,)
    before = (root / "manifest.json").read_bytes()
    write_json(root / "manifest.json", manifest.to_dict())
    assert (root / "manifest.json").read_bytes() == before
    checkpoint = Checkpoint(root)
    plan = plan_deletion(checkpoint, open_sources(checkpoint), [key_id("a")], Grade.EXCISED)
    (excised,) = plan.tombstones
    assert (excised.grade, excised.text_digests) == (Grade.EXCISED, texts)


def test_a_tombstone_without_texts_is_written_as_ever():
    grave = Tombstone(source_id=5, grade=Grade.EXCISED, seed=7)
    assert grave.to_dict() == {"source_id": 5, "grade": "excised", "seed": 7}
