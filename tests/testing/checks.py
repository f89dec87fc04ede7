"""What the tests of check_key and check_transparent try these on, and how often."""

import hypothesis
from hypothesis import strategies as st

numbers = st.integers(0, 5)
# Enough to try each step in each place, where every example costs a transaction.
quickly = hypothesis.settings(max_examples=20, derandomize=True, database=None, deadline=None)
