"""Loading: look-ups, single flight, leases, computations, stored entries, refreshes; for one call and for many."""
