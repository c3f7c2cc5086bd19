"""The behaviour log: finding its files, reading and checking them; `log` shows the way of a row."""
