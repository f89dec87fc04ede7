"""Triggers that record writes from outside Django: an app of its own, since only PostgreSQL has them."""
