"""A pushed version: which folders count as one, which files it holds, and what its graph may do."""
