"""Searches for training settings with a lower loss on the eval split."""
