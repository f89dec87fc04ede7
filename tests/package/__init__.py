"""The package as it is published: what is in it, what its metadata say, and what a newcomer does with it."""
