"""What a root of runs and the log's own files hold of one learner."""
