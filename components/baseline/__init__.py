"""Which blessed model a run compares its candidate with, and which one it starts from."""
