"""A pushed version: which folders are versions, which files they hold, what their graphs may do."""
