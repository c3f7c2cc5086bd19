"""Fits a network on several workers: processes here, or machines that share a folder."""
