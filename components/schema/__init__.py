"""The curated schema: a first one from a log, and what a new log would change in it."""
