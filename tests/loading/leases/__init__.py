"""Leases: one computation between processes, each of which the tests play by what it leaves in the cache."""
