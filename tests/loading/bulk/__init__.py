"""Tests of cached functions over many ids."""
