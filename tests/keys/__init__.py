"""Tests of cache keys: the signature compiler, templates, encoders."""
