"""After the push: versions of a model, the server that answers with them, and its client."""
