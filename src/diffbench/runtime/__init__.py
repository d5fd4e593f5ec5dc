"""Files, places, locks, progress and what machine this is: plumbing, whose edits run no stage again."""
