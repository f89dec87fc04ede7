"""Tests of what is written: every kind of write that goes through Django, on every kind of database."""
