"""Clubs, their classes, and the pages that show them."""
