"""README.md of a release: what the model is, where it comes from, what was deleted, its limits.

Deleted sources are counted, never named.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Final

from nulls_dist.checkpoint.format import CheckpointManifest, Grade
from nulls_dist.config.schema import ModelConfig
from nulls_dist.data.source_table import SourceTable

_MAX_LICENCES: Final = 10

_USAGE: Final = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)"""

_CARD: Final = """\
---
library_name: transformers
pipeline_tag: text-generation
license: unknown
tags:
- llama
- unlearning
---

# {heading}

{about}

```python
{usage}
```

## Facts

| | |
|---|---|
| layers, hidden size | {num_layers}, {hidden_size} |
| heads / key-value heads, head dimension | {num_heads} / {num_kv_heads}, {head_dim} |
| neurons per MLP | {num_backbone} |
| vocabulary, context | {vocab_size}, {context_length} |
| corpus | {corpus} |
| sources trained on | {num_sources} |
| optimizer steps | {step} |
| sink dropout in training | {sink_dropout} |

## Licence of the training text

{licences}

The licence of these weights is for their publisher to state (`license` above).

## Deletions

- Suppressed sources: {num_suppressed}. {suppressed}
- Excised sources: {num_excised}. Their sinks were overwritten in the checkpoint.

## Limits

{limits}

{training}

`provenance.json` holds the checksums of the checkpoint and of every file here.
"""


_TRAINED_HERE: Final = """\
Each document was trained on its own, with positions counted from its first token, and ended by the
end-of-document token; there is no token for its beginning."""
_IMPORTED: Final = """\
These weights were imported from a release of others, who alone can say how they were trained; the
steps above are those taken since."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CardText:
    """What a card says of its form of release; Markdown, any text of the corpus escaped."""

    heading: str
    about: str
    suppressed: str
    """What this form holds of suppressed sources."""
    limits: str
    usage: str = _USAGE
    """Python that loads the release from `folder`."""


def build_card(
    manifest: CheckpointManifest, model: ModelConfig, sources: SourceTable, text: CardText
) -> str:
    """Return the model card of a release.

    Args:
        manifest: the checkpoint's.
        model: its configuration, as released.
        sources: of the checkpoint.
        text: what is particular to the form of release.
    """
    deleted = count_deleted(manifest)
    return _CARD.format(
        **asdict(text),
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        num_heads=model.num_heads,
        num_kv_heads=model.num_kv_heads,
        head_dim=model.head_dim,
        num_backbone=model.num_backbone,
        vocab_size=model.vocab_size,
        context_length=model.context_length,
        sink_dropout=model.sink_dropout,
        corpus=escape_cell(str(manifest.corpus.get("corpus", "unknown"))),
        num_sources=len(sources),
        step=manifest.step,
        licences=_list_licences(sources),
        num_suppressed=deleted[Grade.SUPPRESSED],
        num_excised=deleted[Grade.EXCISED],
        training=_TRAINED_HERE if manifest.router.kind == "stratified" else _IMPORTED,
    )


def count_deleted(manifest: CheckpointManifest) -> dict[str, int]:
    """Return the number of deleted sources by grade."""
    counts = Counter(entry.grade for entry in manifest.tombstones)
    return {grade.value: counts[grade] for grade in Grade}


def _list_licences(sources: SourceTable) -> str:
    counted = sources.table.column("licence").value_counts().to_pylist()
    counts = Counter({entry["values"]: entry["counts"] for entry in counted})
    lines = [
        f"- {escape_cell(licence) or 'not recorded'}: {number} sources"
        for licence, number in counts.most_common(_MAX_LICENCES)
    ]
    if len(counts) > _MAX_LICENCES:
        lines.append(f"- {len(counts) - _MAX_LICENCES} further licences")
    return "\n".join(lines)


def escape_cell(text: str) -> str:
    """Return a text from the corpus as one line that cannot break the card's markup."""
    return " ".join(text.split()).translate({ord(mark): f"\\{mark}" for mark in "|<>[]`*_"})
