"""What a configuration would have done on the spans of the past: `mastery backtest`."""
