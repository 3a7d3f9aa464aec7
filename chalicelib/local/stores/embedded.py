"""The embedded store: moto's server, so that a newcomer sees a model live before MinIO is built."""

import sys
from pathlib import Path

from chalicelib.adapters.s3 import answers, make_bucket, make_client, notify_queue
from chalicelib.adapters.sqs import Queue
from chalicelib.domain.errors import Rejected
from chalicelib.local.home import Home
from chalicelib.local.stores.child import Child, free_port, is_free, listens, plain_environment
from chalicelib.local.stores.seam import DROP, MODEL_STORE, REGION, Connected, write_profile
from chalicelib.local.stores.watch import QueuePoll

NOTE = (
    "The embedded store keeps everything in memory: what was dropped and sealed is gone when it stops, and every "
    "program on this machine may write both buckets. `make minio` builds the real one, once."
)
KEY = "modeldrop"  # moto asks for credentials, and takes any
_SERVER = Path(__file__).with_name("moto_server.py")
_START = 60.0  # seconds; importing moto is slow on a busy machine


class Embedded:
    """An S3 in memory, in a process of its own. A port of 0 takes a free one."""

    def __init__(self, home: Home, *, port: int = 0) -> None:
        self._home, self._port = home, port
        self._child: Child | None = None
        self._queue: Queue | None = None

    def start(self) -> Connected:
        """Start moto; see `Store.start`."""
        if self._port and not is_free(self._port):
            raise Rejected(f"store: port {self._port} is taken; name another or none", code="port_taken")
        try:
            return self._started(self._port or free_port())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._child:
            self._child.stop()
        self._child = self._queue = None

    def events(self) -> QueuePoll:
        """Return the queue to poll; raises Rejected before `start`."""
        if self._queue is None:
            raise Rejected("store: it has no events before it runs; start it", code="store_stopped")
        return QueuePoll(self._queue)

    def _started(self, port: int) -> Connected:
        endpoint = f"http://127.0.0.1:{port}"
        self._child = Child.spawn(
            "the embedded store",
            [sys.executable, "-P", str(_SERVER), str(port)],
            env=plain_environment(),
            log=self._home.logs / "embedded-store.log",
        )
        client = make_client(endpoint, KEY, KEY, REGION)
        self._child.wait_until(lambda: listens(port) and answers(client), _START)
        connected = Connected(
            endpoint, make_bucket(client, DROP), make_bucket(client, MODEL_STORE), KEY, KEY, note=NOTE
        )
        self._queue = Queue.make("drop-events", endpoint=endpoint, access=KEY, secret=KEY, region=REGION)
        notify_queue(connected.drop, self._queue.arn)
        write_profile(self._home.aws_profile, connected)
        return connected
