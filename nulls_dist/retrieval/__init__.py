"""From a text to the surviving sources that are nearest to it, by their names."""
