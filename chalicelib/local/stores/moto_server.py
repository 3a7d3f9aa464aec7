"""The embedded store's process: moto's S3 and SQS on a loopback port. Run by path, with the port as its argument."""

import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


class Quiet(MotoRequestHandler):
    def log_request(self, *_: object) -> None:
        """Say nothing: the log is for what fails."""


if __name__ == "__main__":
    make_server(
        "127.0.0.1",
        int(sys.argv[1]),
        DomainDispatcherApplication(create_backend_app),
        threaded=True,
        request_handler=Quiet,
    ).serve_forever()
