"""Alerts: rules about answers, and whom they tell."""
