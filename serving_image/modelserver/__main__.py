"""`python -m modelserver [serve]`: serve the model in MODEL_DIR."""

import os
import sys
from collections.abc import Sequence

from modelserver.log import emit
from modelserver.server import EXIT_NOT_STARTED, exit_now, run
from modelserver.settings import Settings, SettingsError


def main(arguments: Sequence[str]) -> int:
    """SageMaker starts every container with one argument: `serve`, or `train` where it wants a model made."""
    if list(arguments) not in ([], ["serve"]):
        emit("bad_arguments", error=f"this image serves models: it takes 'serve', not {' '.join(arguments)!r}")
        return EXIT_NOT_STARTED
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        emit("bad_settings", error=str(error))
        return EXIT_NOT_STARTED
    return run(settings)


if __name__ == "__main__":
    exit_now(main(sys.argv[1:]))
