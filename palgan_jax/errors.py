"""The one exception that is shown to a person as it is."""


class UserError(Exception):
    """Bad input: one sentence that says what was wrong, where, and what to do.

    The command line prints the sentence and exits with 2; a library caller can catch it.
    """
