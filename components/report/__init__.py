"""Report: one self-contained HTML file per run, and the same numbers as JSON."""
