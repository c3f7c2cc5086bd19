"""Report: one self-contained HTML file a run, and the same numbers as JSON."""
