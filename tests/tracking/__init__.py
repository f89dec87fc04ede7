"""Tests of what a computation depended on."""
