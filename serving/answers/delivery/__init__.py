"""Messages to people and programs: an outbox in the database, sent at least once."""
