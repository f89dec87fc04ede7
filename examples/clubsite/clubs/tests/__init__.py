"""Three ways to test a site that caches, and what its signals have to get right."""
