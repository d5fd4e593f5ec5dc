"""Parts of your own: every other Python file in this folder is imported before params are read.

CONTRIBUTING.md shows what a file may register. Both engines depend on the files here, so a change runs again what may
use them.
"""
