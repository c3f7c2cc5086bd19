"""After the push: the versions of a model, the server that serves them, and its client."""
