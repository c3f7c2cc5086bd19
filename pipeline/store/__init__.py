"""ML Metadata: the connection to the store, and everything that is looked up in it."""
