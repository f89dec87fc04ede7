"""Tests of the door `contrib`."""
