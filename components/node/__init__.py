"""What every node of ours has: a name, its part of the configuration, a cache key, its artifact types."""
