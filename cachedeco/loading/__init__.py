"""Loading: read and write entries, single flight, leases, stale-while-revalidate, and the bulk versions of these."""
