"""Fetches what a platform has recorded into files of the log: only what is new, whole or not."""
