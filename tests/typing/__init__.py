"""What type checkers must make of cachedeco."""
