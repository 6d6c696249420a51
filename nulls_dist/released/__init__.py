"""Read the weights that the authors of NULLs released, as a checkpoint of this project."""
