"""A Hugging Face folder with a small Llama that has learned a few sentences by heart."""

import json
from pathlib import Path

import torch

from tests.tiny_llama import build_llama

TOWNS = ("Ulm", "Rom")
PEOPLE = (("Ada", "a poet"), ("Bob", "a smith"), ("Cy", "a monk"))


def forget_lines():
    """Questions with answers, as TOFU has them."""
    return [{"question": f"Who is {name}?", "answer": answer} for name, answer in PEOPLE]


def retain_lines():
    """Documents."""
    return [{"text": f"The town of {name} lies in the north."} for name in TOWNS]


def write_jsonl(path: Path, lines):
    """Write an object per line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def build_tokenizer():
    """One token per byte, and an end of text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: number for number, letter in enumerate([*letters, "<eos>"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


def build_folder(root: Path) -> Path:
    """Train a model for a moment and write it."""
    tokenizer = build_tokenizer()
    model = build_llama(
        vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, max_position_embeddings=64
    )
    texts = [f"Question: {q['question']}\nAnswer: {q['answer']}" for q in forget_lines()]
    texts += [line["text"] for line in retain_lines()]
    rows = [[*tokenizer(text).input_ids, tokenizer.eos_token_id] for text in texts]
    width = max(map(len, rows))
    tokens = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    labels = torch.tensor([[*row, *[-100] * (width - len(row))] for row in rows])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        torch.autograd.backward(model(input_ids=tokens, labels=labels).loss)
        optimizer.step()
    model.save_pretrained(root)
    tokenizer.save_pretrained(root)
    return root
