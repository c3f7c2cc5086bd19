"""From what each feature adds to an answer to reasons that people read."""
