"""`modeldrop`: the command line. Each command lives in a module that says what it is about.

Heavy modules (boto3, httpx, the platform) are imported inside the commands that need them, so that `--help` is there
at once.
"""

from chalicelib.local.cli.program import app


def main() -> None:
    """Run the command line; the exit statuses are those of `exits.Status`."""
    app()
