"""Write a corpus as an indexed dataset of Megatron: .bin, .idx and the source of each document."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="export_megatron.py",
        summary="Write a corpus for Megatron's GPTDataset: OUT/documents.bin and .idx, in which\n"
        "each document is one sequence with its end token, OUT/documents.source_ids.npy with\n"
        "the source of each, the tokenizer, and where it all comes from. The corpus is verified\n"
        "first and not touched.",
        examples=[
            "python tools/export_megatron.py CORPUS OUT",
            "python tools/export_megatron.py CORPUS OUT --json",
            "pretrain_gpt.py --data-path OUT/documents --tokenizer-type HuggingFaceTokenizer "
            "--tokenizer-model OUT/tokenizer ...",
        ],
    )
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="corpus directory")
    parser.add_argument("out", type=Path, metavar="OUT", help="output directory; must not exist")
    parser.add_argument("--json", action="store_true", help="print OUT/provenance.json")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist.data.corpus import Corpus
    from nulls_dist.export.megatron import PREFIX, export_megatron

    provenance = export_megatron(Corpus(args.corpus), args.out)
    print(json.dumps(provenance, indent=2) if args.json else args.out / PREFIX)


if __name__ == "__main__":
    sys.exit(run_command(main))
