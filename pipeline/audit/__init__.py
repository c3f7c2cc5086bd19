"""Proves on a log that its examples show nothing of what is predicted: `mastery audit`."""
