"""Checkpoints as files: format, reading, verification. No torch.distributed, no Megatron."""
