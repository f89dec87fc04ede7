"""Dependency tracking: the collector, the watcher of statements, reads, known tables, names of nested tokens."""
