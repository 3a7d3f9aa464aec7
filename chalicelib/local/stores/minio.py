"""MinIO, the real store of one machine: started by us on loopback, its data kept in the platform's folder."""

import fcntl
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import psutil

from chalicelib.adapters.s3 import answers, forget_deleted, make_bucket, make_client, notify_queue
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.local.home import Home
from chalicelib.local.stores.child import Child, free_port, is_free, listens, plain_environment
from chalicelib.local.stores.minio_admin import Credentials, make_uploader
from chalicelib.local.stores.seam import DROP, MODEL_STORE, REGION, Connected, write_profile
from chalicelib.local.stores.watch import Webhook

_START = 60.0  # seconds
_FORGET_AFTER = 1  # days that the model store keeps what the sweep deleted
_ARN = "arn:minio:sqs::MODELDROP:webhook"


def find_minio() -> Path:
    """Return the program: on PATH, else where `make minio` puts it; raises NotFound."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = cache / "modeldrop" / "bin" / "minio"
    if found := shutil.which("minio") or shutil.which(built):
        return Path(found)
    raise NotFound(f"MinIO is neither on PATH nor at {built}; build it once with: make minio")


class MinIO:
    """A MinIO of our own. It posts the drop's events to `receiver` with `token`, later if nobody listens there.

    A port of 0 takes the one of the last start, the first time a free one. `patience`: seconds that the MinIO of a
    killed platform may take to end.
    """

    def __init__(self, home: Home, *, receiver: str, token: str, port: int = 0, patience: float = 10.0) -> None:
        self._home, self._receiver, self._port, self._patience = home, receiver, port, patience
        self._webhook = Webhook(token)
        self._lock = -1
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """MinIO's process, while it runs."""
        return self._child.process.pid if self._child else None

    def start(self) -> Connected:
        """Start MinIO; see `Store.start`. Raises NotFound where there is no MinIO."""
        try:
            return self._started(find_minio())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._child:
            self._child.stop()
        if self._lock >= 0:
            os.close(self._lock)
        self._child, self._lock = None, -1

    def events(self) -> Webhook:
        return self._webhook

    def _started(self, program: Path) -> Connected:
        self._lock = _locked(self._home, self._patience)
        credentials, note = _credentials(self._home.credentials, self._port)
        address = f"127.0.0.1:{credentials.port}"
        self._child = Child.spawn(
            "MinIO",
            [str(program), "server", "--quiet", "--address", address, *self._folders()],
            env=self._environment(credentials),
            log=self._home.logs / "minio.log",
            keep_open=[self._lock],
        )
        client = make_client(f"http://{address}", credentials.root_user, credentials.root_password, REGION)
        self._child.wait_until(lambda: listens(credentials.port) and answers(client), _START)
        drop, store = make_bucket(client, DROP), make_bucket(client, MODEL_STORE)
        make_uploader(address, credentials, DROP)
        notify_queue(drop, _ARN)
        forget_deleted(store, _FORGET_AFTER)
        keys = credentials.uploader_access_key, credentials.uploader_secret_key
        connected = Connected(f"http://{address}", drop, store, *keys, note=note)
        write_profile(self._home.aws_profile, connected)
        return connected

    def _folders(self) -> list[str]:
        """Return our own folders; the user's ~/.minio isn't ours to read (it might turn on TLS)."""
        certificates = self._home.root / "minio-certificates"
        for folder in (self._home.minio, certificates, self._queue):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return ["--certs-dir", str(certificates), str(self._home.minio)]

    @property
    def _queue(self) -> Path:
        """Where events wait until the receiver takes them."""
        return self._home.root / "minio-events"

    def _environment(self, credentials: Credentials) -> dict[str, str]:
        return plain_environment(
            MINIO_ROOT_USER=credentials.root_user,
            MINIO_ROOT_PASSWORD=credentials.root_password,
            MINIO_REGION=REGION,
            MINIO_BROWSER="off",  # no console
            MINIO_UPDATE="off",  # and no calls to the outside
            MINIO_NOTIFY_WEBHOOK_ENABLE_MODELDROP="on",
            MINIO_NOTIFY_WEBHOOK_ENDPOINT_MODELDROP=self._receiver,
            MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_MODELDROP=self._webhook.token,
            MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_MODELDROP=str(self._queue),
        )


def _locked(home: Home, patience: float) -> int:
    """Return an open lock on the data folder. MinIO inherits it: it is free when both we and MinIO have ended."""
    home.make()
    lock = os.open(home.root / "minio.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise Rejected(
                    f"{home.minio} is in use by {_users(home.minio)}; stop that first", code="in_use"
                ) from None
            time.sleep(0.05)
        else:
            return lock


def _users(folder: Path) -> str:
    """Name the processes that have a folder on their command line."""
    found = [p.pid for p in psutil.process_iter(["cmdline"]) if str(folder) in (p.info["cmdline"] or ())]
    return f"process {', '.join(map(str, found))}" if found else "another platform"


def _credentials(path: Path, port: int) -> tuple[Credentials, str]:
    """Return the kept or new credentials with a port that is free, and a note when that isn't the kept one."""
    if port and not is_free(port):
        raise Rejected(f"store: port {port} is taken by another program; name another or none", code="port_taken")
    kept = Credentials.load(path)
    if kept and (port == kept.port or (not port and is_free(kept.port))):
        return kept, ""
    now = replace(kept, port=port or free_port()) if kept else Credentials.generate(port or free_port())
    now.save(path)
    if kept and not port:
        return now, f"Port {kept.port} is taken by another program; the store is at port {now.port} now."
    return now, ""
