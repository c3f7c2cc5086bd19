"""What our nodes have in common: names, settings, cache keys, artifact types, progress."""
