"""Data sets, their splits and their prompts."""
