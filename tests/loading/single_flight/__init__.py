"""Tests of flights: who computes, who waits, and what a call inside a call passes on."""
