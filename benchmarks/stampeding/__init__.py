"""The parts of bench_stampede.py: processes full of callers, whom they call, and what is asked of them."""
