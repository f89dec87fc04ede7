"""Who computes: reading and writing entries, single flight, leases, refresh."""
