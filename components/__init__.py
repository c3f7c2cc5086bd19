"""What the nodes of the pipeline do, a folder each."""
