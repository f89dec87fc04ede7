"""Cache keys: the signature compiler, key templates, and the encoders of types."""
