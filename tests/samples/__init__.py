"""The test suite of another project, run on servers that other people use."""
