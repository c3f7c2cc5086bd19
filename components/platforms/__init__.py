"""Logs as platforms write them: what a record of each format holds, and how it becomes an event."""
