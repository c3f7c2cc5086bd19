"""The papers of a pushed version: what people and the law want to know of it, from its own run."""
