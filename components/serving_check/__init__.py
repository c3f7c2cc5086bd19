"""ServingCheck: compares the answers of the served model with its evaluation."""
