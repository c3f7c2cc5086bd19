"""What crosses a border between nodes or processes: names, and one typed model per JSON file."""
