"""
A fleet: a process of one release of a project, with its own environment and settings. A test has two, on one cache.

As a program it takes orders, a line of JSON each, and tells in a line of JSON what came of it.
"""
