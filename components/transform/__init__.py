"""Transform: scales features as the train split says, in a graph that is also served."""
