"""Say an outcome where a CI system shows it: GitHub reads it from a job's output and puts it on the run's page.

docs.github.com/actions/reference/workflow-commands-for-github-actions. Others show a job's last lines as they are.
"""

import os
import sys


def annotate(title: str, message: str, *, failed: bool) -> None:
    """Print a workflow command on stderr, in a job of GitHub Actions; nothing elsewhere."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        command = "error" if failed else "notice"
        print(f"::{command} title={_property(title)}::{_escaped(message)}", file=sys.stderr, flush=True)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
