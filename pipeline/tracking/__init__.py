"""Tells servers of MLflow and OpenLineage how runs went."""
