"""Answers that reach people: in a database, in alerts, corrected by outcomes."""
