"""Shards like Hugging Face's wikimedia/wikipedia: a corpus, a model, a deletion."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.build import main as build
from data_prep.verify import main as verify
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.cli import run_command
from tests.launch import pretrain_arguments, start
from tools.lookup_source import main as look_up
from tools.strip_sources import main as strip
from tools.verify_checkpoint import main as verify_checkpoint

STEPS = 3

pytestmark = pytest.mark.distributed


def write_shards(folder: Path, *, num_shards: int = 3, per_shard: int = 40) -> None:
    """Write shards with the columns, types and names of `20231101.en`."""
    folder.mkdir()
    for shard in range(num_shards):
        pages = range(shard * per_shard, (shard + 1) * per_shard)
        titles = ['Caf\u00e9 "Lumi\u00e8re"' if page == 50 else f"Town {page}" for page in pages]
        columns = {
            "id": [str(page + 12) for page in pages],
            "url": [f"https://en.wikipedia.org/wiki/Town%20{page}" for page in pages],
            "title": titles,
            "text": [
                f"{title} is a town.\n\nIt has {page * 7} inhabitants and {page % 5} bridges.\n" * 9
                for page, title in zip(pages, titles, strict=True)
            ],
        }
        name = f"train-{shard:05d}-of-{num_shards:05d}.parquet"
        pq.write_table(pa.table(columns), folder / name, row_group_size=17, compression="snappy")


def run(main, *words: object) -> None:
    assert run_command(main, [str(word) for word in words]) == 0


def test_from_shards_to_a_model_without_one_of_its_articles(tmp_path, capsys):
    shards, corpus = tmp_path / "20231101.en", tmp_path / "corpus"
    write_shards(shards)
    source = ("--input", shards / "*.parquet", "--format", "parquet", "--name", "enwiki")
    run(build, *source, "--out", corpus, "--tokenizer", "train:bpe:400", "--partitions", 4)
    run(verify, corpus)
    capsys.readouterr()

    name = 'Caf\u00e9 "Lumi\u00e8re"'
    run(look_up, corpus, name, "url:https://en.wikipedia.org/wiki/Town%2050", "--json")
    by_title, by_url = json.loads(capsys.readouterr().out)
    assert by_title["source_id"] == by_url["source_id"]
    assert (by_title["source_key"], by_title["state"]) == ("62", "live")

    settings = {"train.steps": STEPS, "train.save_every": STEPS, "train.eval_every": 0}
    start(pretrain_arguments(corpus, tmp_path / "run", settings)).wait()
    checkpoint = tmp_path / f"run/checkpoints/step-{STEPS:08d}"

    request, stripped = tmp_path / "sources.txt", tmp_path / "stripped"
    request.write_text(name + "\n", encoding="utf-8")
    run(strip, checkpoint, request, "--out", stripped)
    run(verify_checkpoint, stripped)
    (tombstone,) = Checkpoint(stripped).manifest.tombstones
    assert tombstone.source_id == by_title["source_id"]
    capsys.readouterr()
    run(look_up, stripped, name, "Town 3", "--json")
    states = [place["state"] for place in json.loads(capsys.readouterr().out)]
    assert states == ["excised", "live"]
