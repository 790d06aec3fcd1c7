"""The errors a user can act on; `pipeline.jobs.command` prints them without a traceback.

Every message says what is wrong, where, what was expected, what was found, and what to do.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class PipelineError(Exception):
    """Base of the errors that the user, not the programmer, can fix."""


class ConfigError(PipelineError):
    """A configuration file, a key=value override or a command line cannot be used."""


class DataError(PipelineError):
    """The competition's files, or files in their format, break a rule of the format."""


class ArtifactError(PipelineError):
    """A file the pipeline made is missing, damaged or of another run, or cannot be written."""


class Stopped(Exception):  # noqa: N818  nothing went wrong
    """The system or the user asked for an end, and what was done is saved.

    Attributes:
        code: The process's exit code, EX_TEMPFAIL of sysexits.h: run the same command again.
    """

    code = 75

    def __str__(self) -> str:
        """Return what was stopped, and how to resume."""
        return f"{super().__str__()} Run the same command again: it resumes from there."


@contextmanager
def about(what: str) -> Iterator[None]:
    """Begin the message of an error with what it is about, where its origin cannot know that."""
    try:
        yield
    except PipelineError as error:
        raise type(error)(f"{what}: {error}") from error
