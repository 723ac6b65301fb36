"""Checks on the shape of the code; each is a function that its own test feeds a bad example."""
