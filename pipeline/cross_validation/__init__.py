"""The whole pipeline once per fold of a log, and the table of what all folds reached."""
