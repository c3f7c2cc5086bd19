"""Files and folders of ours: written whole or not at all, never outside their folder."""
