"""What depends on models is invalidated when their rows change."""
