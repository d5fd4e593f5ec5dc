"""Errors a user can cause: one line that says what, where and what to do, and exit code 2."""


class UserError(Exception):
    """Printed without a traceback. The message may hold several lines, one mistake each."""
