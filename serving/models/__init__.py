"""Versions of a model after the push: the folder, what is served, and the log of changes."""
