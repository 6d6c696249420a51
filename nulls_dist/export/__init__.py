"""Release a checkpoint in the format of Hugging Face."""
