"""The platform of one machine, put together: store, registry, fleet, gateway, and the wake-ups that drive them.

Everything is started from the main thread, which lives as long as the platform: processes that the kernel ends with
their parent end with the thread that started them.
"""

import logging
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chalice.local import LocalChalice
from rich.console import Console

from chalicelib import api
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.errors import Rejected
from chalicelib.domain.rollout import Plan
from chalicelib.local.bus import LocalBus
from chalicelib.local.connection_file import make_connection
from chalicelib.local.fleet.fleet import LocalFleet
from chalicelib.local.gateway.control import ControlPlane
from chalicelib.local.gateway.gateway import Gateway, Wiring
from chalicelib.local.gateway.tls import ensure_certificates, local_names, server_context
from chalicelib.local.options import UpOptions
from chalicelib.local.sqlite import SqliteRegistry
from chalicelib.local.stores import Connected, Embedded, External, MinIO, Store, Watcher, Webhook, find_minio
from chalicelib.local.wakeups import Wakeups
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.announce import announce
from chalicelib.pipeline.ports import Ports, Write
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.restore import awaited, begin_windows_anew, restore
from chalicelib.pipeline.tend import sweep, tend
from chalicelib.pipeline.validate import look
from chalicelib.pipeline.wakeups import ADVANCE, LOOK, wake_endpoint, wake_upload

log = logging.getLogger(__name__)
RE_SYNC = "re-sync"
_RE_SYNC_EVERY = timedelta(minutes=1)
_SERVING_IMAGE = Path(__file__).parents[2] / "serving_image"


class Platform:
    """One machine's platform, from `start` to `stop`."""

    def __init__(self, options: UpOptions, show: Callable[[str], None]) -> None:
        self._options = options
        self._show = show
        self._home = options.home.make()
        self._home.logs.mkdir(exist_ok=True)
        self._stack = ExitStack()
        self._webhook: Webhook | None = None
        self._token = secrets.token_urlsafe(32)

    def start(self) -> None:
        """Start everything; when it returns, what was promoted before answers again."""
        self._registry = SqliteRegistry(self._home.registry, on_commit=self._committed)
        self._stack.callback(self._registry.close)
        self._start_gateway()
        connected = self._start_store()
        self._start_fleet(connected)
        self._wire(connected)
        self._restore()
        self._stack.callback(self._wakeups.stop)
        self._wakeups.start()
        self._watch()
        self._wakeups.set(RE_SYNC, _now())
        url = f"https://localhost:{self._gateway.port}"
        make_connection(self._home, self._registry, _now, url=url, ca=self._ca)
        self._say_ready(url, connected)

    def stop(self) -> None:
        """Drain and stop everything, the last started first; nothing is left behind."""
        self._stack.close()

    # --- the parts, in the order in which they start -------------------------------------------------------------
    def _start_gateway(self) -> None:
        control = LocalChalice("modeldrop")
        control.register_blueprint(api.routes)
        control.api.binary_types = []
        wiring = Wiring(
            registry=self._registry,
            sockets=lambda deployment: self._fleet.sockets(deployment) if hasattr(self, "_fleet") else (),
            control=ControlPlane(control),
            on_trouble=lambda endpoint, _: self._wake(ADVANCE + endpoint),
            on_store_event=self._store_event,
        )
        self._gateway = Gateway(wiring, server_context(*self._certificate()))
        self._gateway.start(self._options.host, self._options.port)
        self._stack.callback(self._gateway.stop)

    def _certificate(self) -> tuple[Path, Path]:
        if self._options.cert and self._options.key_file:
            self._ca = self._options.cert
            return self._options.cert, self._options.key_file
        self._ca, certificate, key = ensure_certificates(self._home.ca, local_names([self._options.host]), _now())
        return certificate, key

    def _start_store(self) -> Connected:
        self._store = self._chosen_store()
        self._show("starting the store …")
        self._stack.callback(self._store.stop)
        connected = self._store.start()
        if connected.note:
            self._show(connected.note)
        return connected

    def _chosen_store(self) -> Store:
        options = self._options
        if options.s3_endpoint:
            return External(options.s3_endpoint)
        if options.store == "embedded" or (options.store == "auto" and not _has_minio()):
            return Embedded(self._home, port=options.s3_port)
        receiver = f"http://127.0.0.1:{self._gateway.events_port}/internal/store-events"
        return MinIO(self._home, receiver=receiver, token=self._token, port=options.s3_port)

    def _start_fleet(self, connected: Connected) -> None:
        self._fleet = LocalFleet(
            connected.store,
            self._home,
            server=(sys.executable, "-m", "modelserver"),
            server_path=_SERVING_IMAGE,
            on_change=self._fleet_changed,
        )
        self._stack.callback(self._fleet.close)
        for line in self._fleet.isolation.report:
            self._show(line)

    def _wire(self, connected: Connected) -> None:
        self._wakeups = Wakeups(self._answer)
        self._ports = Ports(
            drop=connected.drop,
            store=connected.store,
            registry=self._registry,
            fleet=self._fleet,
            metrics=self._gateway.counters,
            timers=self._wakeups,
            bus=LocalBus(self._home.events, self._show),
            clock=_now,
            bounds=self._options.bounds,
            defaults=default_plan(self._options),
            **({"quiet": self._options.quiet_period} if self._options.quiet_period else {}),
        )
        api.bind(lambda: self._ports)

    def _restore(self) -> None:
        """Bring back what ran; an open rollout goes on only when its deployments are up again."""
        restore(self._ports)
        told = ""
        while waiting := awaited(self._ports):
            if (line := f"waiting for {', '.join(waiting)}") != told:
                self._show(told := line)
            time.sleep(0.05)
        begin_windows_anew(self._ports)

    def _watch(self) -> None:
        events = self._store.events()
        if isinstance(events, Webhook):
            self._webhook = events
            return
        watcher = Watcher(events, lambda prefix: self._wake(LOOK + prefix))
        watcher.start()
        self._stack.callback(watcher.stop)

    # --- what wakes it, and what it does then -------------------------------------------------------------------
    def _wake(self, name: str) -> None:
        self._wakeups.set(name, _now())

    def _answer(self, name: str) -> None:
        """Answer one wake-up: look again at an upload, at an endpoint, or at everything."""
        if name.startswith(LOOK):
            look(name.removeprefix(LOOK), self._ports)
        elif name.startswith(ADVANCE):
            advance(name.removeprefix(ADVANCE), self._ports)
            tend(name.removeprefix(ADVANCE), self._ports)
        else:
            re_sync(self._ports)
            sweep(self._ports)
            self._wakeups.set(RE_SYNC, _now() + _RE_SYNC_EVERY)
        announce(self._ports)

    def _store_event(self, headers: dict[str, str], body: bytes) -> int:
        """Take MinIO's webhook; what comes before the start is over is sent again by MinIO."""
        if not self._webhook:
            return 503
        if not self._webhook.check_token(headers.get("authorization")):
            return 403
        try:
            looks = self._webhook.receive(body)
        except Rejected as error:
            log.warning("%s; the next listing finds what it meant", error)
            return 200  # it would be the same the next time
        for each in looks:
            wake_upload(each.prefix, self._ports)
        return 200

    def _fleet_changed(self, deployment_id: str) -> None:
        for endpoint in Records(self._registry).list(Endpoint):
            if deployment_id in endpoint.value.deployments and hasattr(self, "_ports"):
                wake_endpoint(endpoint.id, self._ports)

    def _committed(self, writes: Sequence[Write]) -> None:
        """Let the gateway see a new split or a revoked key at once."""
        for write in writes:
            if write.kind in {"endpoint", "key"} and hasattr(self, "_gateway"):
                self._gateway.refresh(write.id)

    def _say_ready(self, url: str, connected: Connected) -> None:
        profile = f"AWS_SHARED_CREDENTIALS_FILE={self._home.aws_profile} aws --profile modeldrop"
        self._show(
            f"drop:    {profile} --endpoint-url {connected.endpoint} s3 cp model.mar s3://drop/MODEL/VERSION/model.mar"
        )
        self._show(f"call:    curl --cacert {self._ca} -H 'Authorization: Bearer KEY' {url}/v1/endpoints/MODEL/predict")
        self._show("key:     modeldrop keys make NAME --scope predict:MODEL")
        self._show(f"ready at {url}")


def default_plan(options: UpOptions) -> Plan:
    """Return the plan of a rollout whose drop doesn't say otherwise."""
    plan = Plan()
    named: dict[str, Any] = {"steps": options.steps, "step_time": options.step_time, "keep_warm": options.keep_warm}
    least = plan.thresholds.min_requests if options.min_requests is None else options.min_requests
    given = {name: value for name, value in named.items() if value is not None}
    return replace(plan, **given, thresholds=replace(plan.thresholds, min_requests=least))


def run(options: UpOptions) -> None:
    """Run the platform until SIGINT or SIGTERM; raises Rejected or OSError when it can't start."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asked_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_stop.set())
    console = Console(highlight=False, soft_wrap=True)
    platform = Platform(options, lambda line: console.print(line, markup=False))
    try:
        platform.start()
        asked_to_stop.wait()
        console.print("stopping: requests that are being answered are finished first")
    finally:
        platform.stop()


def _now() -> datetime:
    return datetime.now(UTC)


def _has_minio() -> bool:
    try:
        find_minio()
    except Rejected:
        return False
    return True
