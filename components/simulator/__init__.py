"""`mastery simulate`: a sample log drawn from a known model of learners, and the best score it allows."""
