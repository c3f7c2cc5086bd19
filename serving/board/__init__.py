"""The board: pages for the people who act on answers. Neither training nor serving needs it."""
