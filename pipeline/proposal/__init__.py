"""Proposes a first configuration for a log: what `mastery init` looks at, decides and writes."""
