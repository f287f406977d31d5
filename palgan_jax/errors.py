"""The exceptions that are shown to a person as they are."""


class UserError(Exception):
    """Bad input: one sentence that says what was wrong, where, and what to do.

    The command line prints the sentence and exits with 2; a library caller can catch it.
    """


class DataStopped(UserError):
    """The data of a run that had begun gave out; what was trained until then is sound and worth saving."""
