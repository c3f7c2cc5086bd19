"""The prediction log: what the embedded server answered, kept beside what it was asked by hash."""
