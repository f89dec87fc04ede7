"""Who is called: the decorators, cached functions and their verbs."""
