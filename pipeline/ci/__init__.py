"""The small training that judges a change, and its results for people and machines."""
