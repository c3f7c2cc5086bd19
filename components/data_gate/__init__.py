"""DataGate: stops a run whose examples do not fit the curated schema, before training."""
