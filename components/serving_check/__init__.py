"""ServingCheck: what a server would answer is what was evaluated, or nothing is pushed."""
