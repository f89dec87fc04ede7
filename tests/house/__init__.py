"""Tests of the structure: imports between packages, and public names."""
