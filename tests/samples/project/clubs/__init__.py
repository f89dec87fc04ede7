"""The site of the bug report, written as it was: caching by hand, under keys that are the same for every club."""
