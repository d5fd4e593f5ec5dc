"""Files, locks, progress and hardware: nothing here decides a number."""
