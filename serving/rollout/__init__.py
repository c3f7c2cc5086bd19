"""Judges a new version against the one in service while both answer, and moves it up or back."""
