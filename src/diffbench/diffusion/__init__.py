"""Paths, targets, samplers, guidance and networks."""
