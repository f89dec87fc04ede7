"""What a computation depended on: the collector, and the names of nested dependencies."""
