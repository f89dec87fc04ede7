"""Dependency tracking: the collector, and the names of nested dependencies."""
