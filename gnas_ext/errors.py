"""What is raised when the input, not the program, is wrong."""


class InputError(ValueError):
    """A file, a column, an id or an option that cannot be used: one line that says what came and what to do.

    The command line prints it and exits with status 2.
    """
