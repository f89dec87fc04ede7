"""Tests of invalidations that a cache has not acknowledged: queued, and delivered later."""
