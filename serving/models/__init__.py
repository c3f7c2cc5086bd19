"""Versions of a model after the push: what is there, what is served, and who changed that when."""
