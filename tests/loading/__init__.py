"""Tests of the look-up and the computation: hit, miss, single flight, leases, refresh."""
