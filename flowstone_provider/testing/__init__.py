"""Pytest suites for plugin authors: the same ones that our own implementations pass."""
