"""Tests of the decorator over many ids and its verbs."""
