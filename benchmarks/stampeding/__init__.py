"""The parts of bench_stampede.py: processes full of callers, the functions that they call, and what is measured."""
