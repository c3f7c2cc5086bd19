"""Trials of calling: who is held out by lot, and what the comparison of both arms says."""
