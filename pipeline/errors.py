"""The errors a user can act on; `pipeline.jobs.command` prints them without a traceback.

Every message says what is wrong, where, what was expected, what was found, and what to do.
"""

import errno
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


ADVICE = {
    errno.EACCES: "Give yourself the permission, or use another folder",
    errno.EPERM: "Give yourself the permission, or use another folder",
    errno.EROFS: "Use a folder that can be written",
    errno.ENOTDIR: "A file stands where a folder should be: rename it, or correct the path",
    errno.EEXIST: "A file stands where a folder should be: rename it, or correct the path",
    errno.EISDIR: "A folder stands where a file should be: rename it, or correct the path",
    errno.ENOENT: "Restore it, or correct the path",
    errno.ENOSPC: "The disk has no space or no inodes left: free some",
    errno.EDQUOT: "Your quota is used up: free some space",
    errno.EMFILE: "Allow more open files: ulimit -n 4096",
    errno.ENAMETOOLONG: "Choose a shorter name",
}


def explain(error: OSError) -> str:
    """Say what the operating system refused, where, and what to do."""
    where = [str(name) for name in (error.filename, error.filename2) if name is not None]
    advice = ADVICE.get(error.errno or 0, "Correct that on this machine")
    return (
        f"{' -> '.join(where) or 'this machine'}: {error.strerror}. {advice}, "
        "then run the same command again."
    )


@contextmanager
def about(what: str) -> Iterator[None]:
    """Begin the message of an error with what it is about, where its origin cannot know that."""
    try:
        yield
    except PipelineError as error:
        raise type(error)(f"{what}: {error}") from error
