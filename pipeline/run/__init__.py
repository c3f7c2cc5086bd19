"""Runs on one machine, and what every way of running shares: launching, records, notifications."""
