"""Judges a model on the test split: predictions, metrics, slices, gates and the blessing."""
