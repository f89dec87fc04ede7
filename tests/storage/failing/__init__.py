"""A cache that fails: left alone for a while, owed what it missed, and trusted again when it has that."""
