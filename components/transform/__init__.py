"""Transform: what the model reads, computed once on the training split and served as the same graph."""
