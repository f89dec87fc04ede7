"""Three ways to test a site that caches, and what its invalidations have to get right."""
