"""Evidence: what a model knows of its sources before and after deletion."""
