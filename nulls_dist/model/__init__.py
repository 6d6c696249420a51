"""The model: Megatron-core's GPTModel with document attention and a pool of sinks."""
