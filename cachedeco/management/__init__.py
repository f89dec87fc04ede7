"""Management commands; Django finds them by this path."""
