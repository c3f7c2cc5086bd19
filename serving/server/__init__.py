"""Serves pushed models on one machine: by TensorFlow Serving if it is installed, else by itself."""
