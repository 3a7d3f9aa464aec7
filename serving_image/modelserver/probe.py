"""`python -m modelserver.probe`: is this container's server ready? Its exit status answers, as HEALTHCHECK asks."""

import http.client
import os
import sys

from modelserver.settings import Settings

TIMEOUT_S = 3


def is_ready(settings: Settings) -> bool:
    """Ask the health route, on this machine, as a platform would."""
    connection = http.client.HTTPConnection("127.0.0.1", settings.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", settings.health_route)
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_ready(Settings.from_env(os.environ)) else 1)
