"""Ways to falsify the manifests of a source of the small test checkpoint, each a single change."""

import json
import os
import shutil

from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.manifest_form import MAX_BYTES
from tests.checkpoint_factory import key_id

FIRST, SECOND = sorted(map(key_id, ("k-3", "k-5")))
"""The sources that have manifests."""
OTHER = key_id("k-9")
SOURCE = f"sources/{FIRST}.json"


def edit(manifests, file, change):
    """Apply a change to the parsed JSON of a manifest."""
    path = manifests / file
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def put(file, value, *keys):
    """A change of the value at a place of a manifest."""

    def change(content):
        *way, last = keys
        for key in way:
            content = content[key]
        content[last] = value

    return lambda manifests: edit(manifests, file, change)


def on_sinks(change):
    """A change of the sinks of the first layer."""
    return lambda manifests: edit(manifests, SOURCE, lambda content: change(content["sinks"][0]))


def link(name, target):
    def change(manifests):
        shutil.move(manifests / name, manifests.parent / "moved")
        (manifests / name).symlink_to(target or manifests.parent / "moved")

    return change


def raw(file, text):
    return lambda manifests: (manifests / file).write_text(text)


def rename(name):
    return lambda manifests: (manifests / SOURCE).rename(manifests / "sources" / name)


def text_swap(file, old, new):
    def change(manifests):
        text = (manifests / file).read_text()
        assert old in text
        (manifests / file).write_text(text.replace(old, new, 1))

    return change


def replace_by_pipe(manifests):
    (manifests / SOURCE).unlink()
    os.mkfifo(manifests / SOURCE)


def copy_of_other(manifests):
    shutil.copy(manifests / SOURCE, manifests / f"sources/0{FIRST}.json")


def as_another(manifests):
    """The sinks of one source under the name and id of another."""
    edit(manifests, SOURCE, lambda content: content.update(source_id=OTHER, source_key="k-9"))
    (manifests / SOURCE).rename(manifests / f"sources/{OTHER}.json")


def grow(file):
    def change(manifests):
        with (manifests / file).open("ab") as content:
            content.truncate(MAX_BYTES + 1)

    return change


EXPERT_FILE = ("files", 0)
RANGES = ("files", 0, "tensors", 0, "ranges")

NO_MANIFESTS = {
    "no such directory": shutil.rmtree,
    "no run manifest": lambda manifests: (manifests / "run.json").unlink(),
    "no sources": lambda manifests: shutil.rmtree(manifests / "sources"),
    "no source": lambda m: [path.unlink() for path in (m / "sources").iterdir()],
}
FALSE_FILES = {
    "run manifest is a link": link("run.json", None),
    "run manifest is a dead link": link("run.json", "nowhere"),
    "source is a link": link(SOURCE, None),
    "source is a device": link(SOURCE, "/dev/zero"),
    "folder of sources is a link": link("sources", None),
    "source is a pipe": replace_by_pipe,
    "source is a directory": lambda m: [(m / SOURCE).unlink(), (m / SOURCE).mkdir()],
    "run manifest too long": grow("run.json"),
    "source too long": grow(SOURCE),
    "stray file": raw("sources/.hidden", "{}"),
    "another ending": rename(f"{FIRST}.txt"),
    "name is no number": rename("k-3.json"),
    "name is negative": rename("-3.json"),
    "name is the padding's id": rename(f"{NO_SOURCE}.json"),
    "name is beyond 64 bits": rename("99999999999999999999.json"),
    "name in other digits": rename("\u0663.json"),
    "name of another source": rename(f"{OTHER}.json"),
    "the same source twice": copy_of_other,
}
FALSE_JSON = {
    "empty": raw(SOURCE, ""),
    "no object": raw(SOURCE, "[]"),
    "cut": raw(SOURCE, '{"format_version": 1'),
    "not UTF-8": lambda m: (m / SOURCE).write_bytes(b'{"a": "\xff"}'),
    "duplicate key": text_swap(SOURCE, '"expert":', '"expert": 1, "expert":'),
    "duplicate key deep": text_swap(SOURCE, '"layer":', '"layer": 0, "layer":'),
    "duplicate key of the run": text_swap("run.json", '"seed":', '"seed": 1, "seed":'),
    "NaN": text_swap(SOURCE, '"format_version":1', '"format_version":NaN'),
    "infinite": text_swap("run.json", '"step": 100', '"step": 1e999'),
    "5000 digits": text_swap("run.json", '"step": 100', '"step": ' + "9" * 5000),
    "nested": raw(SOURCE, "[" * 100_000),
    "nested in a model": put("run.json", json.loads("[" * 900 + "]" * 900), "model", "deep"),
    "nested in a title": put(SOURCE, json.loads("[" * 900 + "]" * 900), "title"),
    "unknown field": put(SOURCE, 1, "surprise"),
    "missing field": lambda m: edit(m, SOURCE, lambda content: content.pop("overlap")),
    "version": put(SOURCE, 2, "format_version"),
    "version of the run": put("run.json", 2, "format_version"),
    "lone surrogate": put(SOURCE, "\ud800", "source_key"),
}
FALSE_VALUES = {
    "router hash of the run": put("run.json", "0" * 64, "router_sha256"),
    "table hash of the run": put("run.json", "0" * 64, "bucket_table_sha256"),
    "router of the run": put("run.json", 8, "router", "seed"),
    "private sources of the run": put("run.json", [FIRST], "private_sources"),
    "private hash": put("run.json", "0" * 64, "private_sources_sha256"),
    "hash is no hash": put("run.json", "x" * 64, "router_sha256"),
    "router hash": put(SOURCE, "0" * 64, "router_sha256"),
    "table hash": put(SOURCE, "0" * 64, "bucket_table_sha256"),
    "private hash of a source": put(SOURCE, "0" * 64, "private_sources_sha256"),
    "checkpoint hash": put(SOURCE, "0" * 64, "checkpoint_manifest_sha256"),
    "path upwards": put(
        SOURCE, "../../weights/sinks-expert-0000.safetensors", *EXPERT_FILE, "path"
    ),
    "absolute path": put(SOURCE, "/etc/passwd", *EXPERT_FILE, "path"),
    "path with NUL": put(SOURCE, "weights/\0", *EXPERT_FILE, "path"),
    "path of the run": put("run.json", "../manifest.json", "files", 0, "path"),
    "no path": put(SOURCE, "", *EXPERT_FILE, "path"),
    "id is text": put(SOURCE, str(FIRST), "source_id"),
    "id is a float": put(SOURCE, float(FIRST), "source_id"),
    "id is true": put(SOURCE, True, "source_id"),
    "id of padding": put(SOURCE, NO_SOURCE, "source_id"),
    "id of another": put(SOURCE, SECOND, "source_id"),
    "another's id and key": as_another,
    "key": put(SOURCE, "k-9", "source_key"),
    "bucket": put(SOURCE, 7, "bucket"),
    "another expert": lambda m: edit(m, SOURCE, lambda c: c.update(expert=1 - c["expert"])),
    "expert that is not there": put(SOURCE, 2, "expert"),
    "expert beyond 64 bits": put(SOURCE, 1 << 64, "expert"),
    "private": put(SOURCE, True, "private"),
    "sink out of range": put(SOURCE, 32, "sinks", 0, 7),
    "sink below 0": put(SOURCE, -1, "sinks", 0, 0),
    "sink huge": put(SOURCE, 10**30, "sinks", 0, 7),
    "sink is a float": on_sinks(lambda sinks: sinks.__setitem__(0, float(sinks[0]))),
    "sink is a flag": put(SOURCE, True, "sinks", 0, 0),
    "another sink": on_sinks(lambda sinks: sinks.__setitem__(0, (sinks[0] + 1) % 4)),
    "sinks unsorted": on_sinks(lambda sinks: sinks.reverse()),
    "sink twice": on_sinks(lambda sinks: sinks.__setitem__(1, sinks[0])),
    "a sink more": on_sinks(lambda sinks: sinks.append(31)),
    "a sink fewer": on_sinks(lambda sinks: sinks.pop()),
    "no sinks": put(SOURCE, [], "sinks"),
    "many sinks": put(SOURCE, [list(range(32))] * 2, "sinks"),
    "many layers": put(SOURCE, [[]] * 100_000, "sinks"),
    "sinks are text": put(SOURCE, "all", "sinks"),
    "range of one": put(SOURCE, [[5]], *RANGES),
    "range backwards": put(SOURCE, [[9, 5]], *RANGES),
    "range below 0": put(SOURCE, [[-9, 5]], *RANGES),
    "count below 0": put(SOURCE, -1, "overlap", "num_twins"),
    "twin is no source": put(SOURCE, [FIRST], "overlap", "twins"),
}
FALSE_OF_THE_SAME = {
    "title": put(SOURCE, "Another title", "title"),
    "alias": put(SOURCE, ["Another"], "aliases"),
    "state": put(SOURCE, "excised", "state"),
    "file's checksum": put(SOURCE, "0" * 64, *EXPERT_FILE, "sha256"),
    "another file": put(SOURCE, "weights/backbone-part0000.safetensors", *EXPERT_FILE, "path"),
    "another range": put(SOURCE, [[0, 64]], *RANGES),
    "no files": put(SOURCE, [], "files"),
    "checksum of the run": put("run.json", "0" * 64, "files", 0, "sha256"),
    "step": put("run.json", 99, "step"),
    "number of sources": put("run.json", 41, "num_sources"),
    "tombstone": put("run.json", [{"source_id": 1, "grade": "excised", "seed": 0}], "tombstones"),
}
REFUSED = {
    (code, name): change
    for code, changes in ((3, NO_MANIFESTS), (5, FALSE_FILES | FALSE_JSON | FALSE_VALUES))
    for name, change in changes.items()
}
