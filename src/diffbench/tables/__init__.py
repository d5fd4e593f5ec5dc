"""The versioned tables."""
