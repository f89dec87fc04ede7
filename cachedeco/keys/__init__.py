"""Under which key: a signature, compiled once, into: call -> key."""
