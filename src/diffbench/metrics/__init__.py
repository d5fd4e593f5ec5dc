"""Measures of a set of samples, one file a family."""
