"""Turn raw text (Wikipedia dumps, a generated encyclopedia) into a corpus keyed by source."""
