"""Watches a version in service: whether new data are still like those that it was made with."""
