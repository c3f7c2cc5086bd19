"""The small training that a change is judged by, and what people and machines read of it."""
