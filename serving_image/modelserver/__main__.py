"""`python -m modelserver`: serve the model in MODEL_DIR."""

import os

from modelserver.log import emit
from modelserver.server import EXIT_NOT_STARTED, exit_now, run
from modelserver.settings import Settings, SettingsError


def main() -> int:
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        emit("bad_settings", error=str(error))
        return EXIT_NOT_STARTED
    return run(settings)


if __name__ == "__main__":
    exit_now(main())
