"""Convert a checkpoint into the format of Hugging Face."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command
from nulls_dist.errors import ConfigError


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="convert_to_hf.py",
        summary="Release a checkpoint as a Hugging Face model. The input is not touched.",
        examples=[
            "python tools/convert_to_hf.py RUN/checkpoints/step-00000100 OUT --form backbone",
            "python tools/convert_to_hf.py CKPT OUT --form backbone --dtype bfloat16",
            "python tools/convert_to_hf.py CKPT OUT --form merged --sources sources.txt",
            "python tools/convert_to_hf.py CKPT OUT --form routed --validate",
        ],
    )
    parser.add_argument("checkpoint", type=Path, help="directory of the checkpoint")
    parser.add_argument("out", type=Path, help="output directory; must not exist")
    parser.add_argument(
        "--form",
        choices=("backbone", "merged", "routed"),
        required=True,
        help="backbone: a plain LlamaForCausalLM without any sink; merged: one with the sinks of "
        "the sources in --sources (with several, every text gets the sinks of all of them, which "
        "the model was not trained with); routed: the whole model with its own code, which takes "
        "the source of each text",
    )
    parser.add_argument(
        "--sources",
        type=Path,
        help="for --form merged: UTF-8 text, one source per line, as for strip_sources.py; "
        "deleted sources are refused",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="type of the released weights (default: that of the checkpoint)",
    )
    parser.add_argument(
        "--validate",
        action="store_true",
        help="before the release is published, load it in a fresh process without network and "
        "compare its logits with the checkpoint's; needs memory for both",
    )
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    if args.form == "merged" and not args.sources:
        raise ConfigError("--form merged needs --sources: a file with one source per line")
    if args.form != "merged" and args.sources:
        raise ConfigError(f"--sources is for --form merged; --form {args.form} takes none")
    from nulls_dist.checkpoint.store import Checkpoint
    from nulls_dist.export.backbone import export_backbone
    from nulls_dist.export.llama import DTYPES
    from nulls_dist.export.merged import export_merged
    from nulls_dist.export.release import ReleaseOptions
    from nulls_dist.export.routed import export_routed
    from nulls_dist.unlearn.plan import open_sources
    from nulls_dist.unlearn.resolve import resolve_all

    checkpoint = Checkpoint(args.checkpoint)
    source_ids = resolve_all(open_sources(checkpoint), args.sources) if args.sources else []
    options = ReleaseOptions(dtype=DTYPES[args.dtype] if args.dtype else None)
    if args.validate:
        from nulls_dist.eval.release_check import check_logits

        options = replace(
            options, check=partial(check_logits, args.checkpoint, args.form, source_ids)
        )
    if args.form == "backbone":
        export_backbone(checkpoint, args.out, options)
    elif args.form == "merged":
        export_merged(checkpoint, args.out, source_ids, options)
    else:
        export_routed(checkpoint, args.out, options)
    print(args.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
