"""Errors a user can act on, and the exit code each one carries.

Every message says what was got, what is needed, and the next command. Anything else that is raised is a bug of ours and
keeps its stack trace. Exit codes: 0 done, 1 error, 2 usage, 3 conflict, 4 corrupt, 5 incomplete (run again).
"""


class LakeError(Exception):
    """Something went wrong that the message explains; nothing was lost."""

    exit_code = 1


class UsageError(LakeError, ValueError):
    """The request itself cannot be met: an unknown name, a value out of range, a missing parameter."""

    exit_code = 2


class ConflictError(LakeError):
    """Two different contents claim one name; both are kept as they are."""

    exit_code = 3


class CorruptError(LakeError):
    """Bytes in the lake are not the bytes that were published."""

    exit_code = 4


class IncompleteError(LakeError):
    """Work remains; the same command goes on from here."""

    exit_code = 5
