"""What `public_suites.py` runs inside the suites of public projects."""
