"""Scenarios across packages: histories, faults, the example site, a storm."""
