"""The behaviour log: finding its files, reading them in chunks, and saying what is wrong with them."""
