"""The HTML report: one file, readable without JavaScript and without a network."""
