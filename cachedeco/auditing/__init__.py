"""The auditor: compute a sample of the hits again, and report those that have changed without an invalidation."""
