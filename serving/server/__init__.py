"""Serves pushed models on one machine: TensorFlow Serving where it is there, an embedded server where it is not."""
