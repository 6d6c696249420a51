"""Compute the logits of a released model, in a process that has neither this project nor a network.

A script: `python -I released_logits.py FOLDER REQUEST OUT`, run by `eval.release_check`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        raise RuntimeError(f"a released model may not need the network: {arguments[1:]}")


@torch.no_grad()
def main(folder: str, request: str, out: str) -> None:
    """Load a release and run texts of different lengths as one batch, padded on the left.

    Args:
        folder: the release.
        request: JSON: `texts`, lists of tokens; `trust_remote_code`; `arguments`, which go to the
            model as they are.
        out: safetensors file, logits of text number n under "n".
    """
    sys.addaudithook(_refuse_network)
    from transformers import AutoModelForCausalLM

    asked = json.loads(Path(request).read_text(encoding="utf-8"))
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        trust_remote_code=asked["trust_remote_code"],
        dtype=torch.float32,
        output_loading_info=True,
    )
    model, loading = loaded
    if any(loading.values()):
        raise RuntimeError(f"weights and code of the release differ: {loading}")
    texts = asked["texts"]
    width = max(map(len, texts))
    tokens = torch.tensor([[0] * (width - len(text)) + text for text in texts])
    mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model.eval()(
        input_ids=tokens, attention_mask=mask, position_ids=positions, **asked["arguments"]
    ).logits
    found = {
        str(number): logits[number, -len(text) :].contiguous() for number, text in enumerate(texts)
    }
    save_file(found, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
