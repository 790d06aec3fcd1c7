"""Which version of the code made a submission, as far as git can tell."""

import logging
import subprocess
from pathlib import Path

import pipeline
from pipeline.kaggle.failures import printable

LOG = logging.getLogger(__name__)
ROOT = Path(pipeline.__path__[0]).parent
UNKNOWN = "unknown"
# What stages write and the project keeps.
WRITTEN = (":!submissions", ":!folds")


def code_version(root: Path = ROOT) -> str:
    """Return the commit of the code, with `-dirty` where the code differs from it.

    Warns of such a difference, and why git does not tell.

    Args:
        root: The project's folder.

    Returns:
        The commit; `unknown` in a checkout that git does not read; "" outside of one.
    """
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return ""
    try:
        commit = _git(root, "rev-parse", "--verify", "HEAD").strip()
        # Untracked files count only where they are code.
        changed = [
            line[3:]
            for line in _git(root, "status", "--porcelain", "--", ".", *WRITTEN).splitlines()
            if not line.startswith("??") or line[3:].startswith("pipeline/")
        ]
    except (OSError, subprocess.CalledProcessError) as error:
        reason = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        LOG.warning(
            "the ledger gets the commit `%s`: git does not read the checkout %s: %s",
            *(UNKNOWN, root, printable(reason)),
        )
        return UNKNOWN
    if not changed:
        return commit
    LOG.warning(
        "the ledger gets the commit %s-dirty, since the code differs from it: %s",
        *(commit, printable(", ".join(changed))),
    )
    return f"{commit}-dirty"


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=True
    ).stdout
