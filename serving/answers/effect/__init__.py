"""What calling changes: who is held out by lot, and what the outcomes of both arms say."""
