"""Pusher: one more version of the model for TensorFlow Serving, complete or not at all."""
