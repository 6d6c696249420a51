"""How fast data preparation is, and that neither time nor memory grow faster than the input."""
