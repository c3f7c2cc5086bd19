"""What a version would have answered about a learner at a moment, and whether it did so then."""
