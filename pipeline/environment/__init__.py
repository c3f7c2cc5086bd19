"""The environment in `.venv`: how it is made, and what is wrong with it. Standard library only."""
