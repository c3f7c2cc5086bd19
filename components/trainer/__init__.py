"""Trainer: fits the sequence model and exports the SavedModel that is served."""
