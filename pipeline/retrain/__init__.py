"""Decides when to train again, and trains: `mastery retrain`."""
