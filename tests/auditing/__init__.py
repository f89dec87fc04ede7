"""The auditor: it finds what no invalidation has reached, and accuses no other call."""
