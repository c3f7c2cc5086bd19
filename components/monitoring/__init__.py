"""Compares new data with the data of a version: how far each column has moved, and by chance."""
