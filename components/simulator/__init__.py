"""`mastery simulate`: a log drawn from a known model of learners, and its best reachable score."""
