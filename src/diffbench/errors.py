"""Errors a user can cause: one line that says what, where and what to do, and exit code 2."""


class UserError(Exception):
    """Printed without a traceback. The message may hold several lines, one mistake each."""


def printable(line: str) -> str:
    """A line with all that would break or reorder it written out, such as line separators inside a value."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in line)
