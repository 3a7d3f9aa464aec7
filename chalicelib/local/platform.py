"""The platform of one machine, put together: registry, store, fleet, gateway, and the wake-ups that drive them.

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
from chalicelib.adapters.questions import HttpQuestions
from chalicelib.adapters.s3_presign import S3Uploads
from chalicelib.domain.rollout import Plan
from chalicelib.local.answering import ANNOUNCE, FORGET, RE_SYNC, Receiver, answer
from chalicelib.local.asking import BackgroundQuestions
from chalicelib.local.audit_file import AuditFile
from chalicelib.local.bus import Buses, LocalBus, WebhookBus
from chalicelib.local.connection_file import make_connection
from chalicelib.local.fleet.container_offer import offered
from chalicelib.local.fleet.fleet import LocalFleet
from chalicelib.local.gateway.control import ControlPlane
from chalicelib.local.gateway.gateway import Gateway, Wiring
from chalicelib.local.gateway.tls import ensure_certificates, local_names, server_context
from chalicelib.local.gateway.who import WHO, WHO_ANSWERS
from chalicelib.local.invoking import SocketInvoker
from chalicelib.local.options import UpOptions
from chalicelib.local.proving import HttpsProber
from chalicelib.local.sqlite import SqliteRegistry
from chalicelib.local.stores import Connected, Watcher, Webhook, choose_store
from chalicelib.local.stores.child import free_port
from chalicelib.local.wakeups import Wakeups
from chalicelib.local.webhooks import api as webhook_api
from chalicelib.local.webhooks.answers import WEBHOOK_ANSWERS
from chalicelib.local.webhooks.sender import Sender
from chalicelib.pipeline.ports import Bus, Ports, Write
from chalicelib.pipeline.restore import awaited, begin_windows_anew, restore
from chalicelib.pipeline.sealing import StreamingSealer
from chalicelib.pipeline.wakeups import ADVANCE, LOOK, REGISTER, wake_endpoints_of, wake_upload

_SERVING_IMAGE = Path(__file__).parents[2] / "serving_image"
_ANYWHERE = {"", "0.0.0.0", "::"}
_CERTIFICATE = "certificate"
_RENEWAL = timedelta(days=1)  # how often the server's certificate is looked at; one near its end is replaced
_POLL = 0.05  # seconds between looks at deployments that start
# Seconds that one thread's work may hold up another's: with Python's own 5 ms, each predict request would wait that
# long twice while an upload is judged.
_SWITCH = 0.0005


class Platform:
    """One machine's platform, from `start` to `stop`."""

    def __init__(self, options: UpOptions, show: Callable[[str], None]) -> None:
        self._options = options
        self._show = show
        self._home = options.home.make()
        self._home.logs.mkdir(exist_ok=True)
        self._parts = ExitStack()

    def start(self) -> None:
        """Start everything; when it returns, what was promoted before answers again."""
        self._registry = SqliteRegistry(self._home.registry)
        self._parts.callback(self._registry.close)
        connected = self._start_store()
        self._start_fleet(connected)
        self._wire(connected)
        self._restore()
        self._gateway.start(self._options.host, self._options.port, events_port=self._events_port)
        self._parts.callback(self._gateway.stop)
        self._wakeups.start()
        self._parts.callback(self._wakeups.stop)
        self._sender.start()
        self._parts.callback(self._sender.stop)
        self._watch()
        self._wake(RE_SYNC)
        self._wake(FORGET)
        self._wakeups.set(_CERTIFICATE, _now() + _RENEWAL)
        self._say_ready(connected)

    def stop(self) -> None:
        """Drain and stop everything, the last started first; nothing is left behind."""
        self._parts.close()

    # --- the parts, in the order in which they start ----------------------------------------------------------------
    def _start_store(self) -> Connected:
        self._events_port = free_port()
        receiver = f"http://127.0.0.1:{self._events_port}/internal/store-events"
        self._store = choose_store(self._options, receiver=receiver, token=secrets.token_urlsafe(32))
        self._show("starting the store …")
        self._parts.callback(self._store.stop)
        connected = self._store.start()
        if connected.note:
            self._show(connected.note)
        return connected

    def _start_fleet(self, connected: Connected) -> None:
        self._offer = offered(self._options)
        self._fleet = LocalFleet(
            connected.store,
            self._home,
            server=(sys.executable, "-m", "modelserver"),
            server_path=_SERVING_IMAGE,
            on_change=lambda deployment_id: wake_endpoints_of(deployment_id, self._ports),
            containers=self._offer.containers,
        )
        self._parts.callback(self._fleet.close)
        for line in (*self._fleet.isolation.report, *self._offer.report):
            self._show(line)

    def _wire(self, connected: Connected) -> None:
        """Make the gateway and the ports, and let each know of the other's news."""
        # An upload of many gigabytes is read and sealed for minutes; a failing canary goes back within a second.
        self._wakeups = Wakeups(self._answer, is_long=lambda name: name.startswith((LOOK, REGISTER)))
        self._receiver = Receiver(self._store.events(), lambda prefix: wake_upload(prefix, self._ports))
        self._gateway = self._made_gateway(connected)
        self._registry.on_commit = self._committed
        options = self._options
        self._ports = Ports(
            drop=connected.drop,
            store=connected.store,
            sealer=StreamingSealer(connected.drop, connected.store),
            registry=self._registry,
            fleet=self._fleet,
            invoker=SocketInvoker(self._fleet.sockets),
            metrics=self._gateway.counters,
            prober=self._prober(),
            timers=self._wakeups,
            audit=AuditFile(self._home.audit),
            bus=self._bus(),
            uploads=S3Uploads(connected.drop, connected.signer(options.s3_url)),
            clock=_now,
            bounds=options.bounds,
            questions=self._start_asking(),
            limits=replace(options.limits, no_containers=self._offer.refusal),
            policy=options.policy,
            defaults=default_plan(options),
            quiet=Ports.quiet if options.quiet_period is None else options.quiet_period,
        )
        api.bind(
            lambda: self._ports,
            beside=(*api.PREDICT, WHO, *webhook_api.OPERATIONS),
            answers={**WEBHOOK_ANSWERS, **WHO_ANSWERS},
        )

    def _made_gateway(self, connected: Connected) -> Gateway:
        control = LocalChalice("modeldrop")
        control.register_blueprint(api.routes)
        control.register_blueprint(webhook_api.routes)
        wiring = Wiring(
            registry=self._registry,
            sockets=self._fleet.sockets,
            control=ControlPlane(control),
            on_trouble=lambda endpoint, _: self._wake(ADVANCE + endpoint),
            on_store_event=self._receiver,
            keep=connected.store.put,
        )
        return Gateway(wiring, server_context(*self._certificate()))

    def _prober(self) -> HttpsProber:
        host = self._options.host if self._options.host not in _ANYWHERE else "localhost"
        at = f"[{host}]" if ":" in host else host
        prober = HttpsProber(self._home.connection, lambda: f"https://{at}:{self._gateway.port}")
        self._parts.callback(prober.close)
        return prober

    def _bus(self) -> Bus:
        """Return what keeps and shows every transition, and what hands it out to webhooks."""
        self._sender = Sender(self._registry, _now, on_told=lambda: self._wake(ANNOUNCE))
        webhook_api.bind(self._registry, _now, on_change=self._sender.look)
        # Webhooks first: a repeat hands out nothing twice, but it would be a second line in the file.
        handed_out = WebhookBus(self._registry, _now, on_new=self._sender.look)
        return Buses((handed_out, LocalBus(self._home.events, self._show)))

    def _start_asking(self) -> BackgroundQuestions:
        questions = BackgroundQuestions(HttpQuestions(self._options.bounds.questions))
        self._parts.callback(questions.close)
        return questions

    def _certificate(self) -> tuple[Path, Path]:
        """Return the server's certificate and key: those given, else of our own CA."""
        if self._options.cert and self._options.key_file:
            self._ca = self._options.cert
            return self._options.cert, self._options.key_file
        self._ca, certificate, key = ensure_certificates(self._home.ca, local_names([self._options.host]), _now())
        return certificate, key

    def _restore(self) -> None:
        """Bring back what ran; an open rollout goes on only when its deployments are up again."""
        restore(self._ports)
        told = ""
        while waiting := awaited(self._ports):
            if (line := f"waiting for {', '.join(waiting)}") != told:
                self._show(told := line)
            time.sleep(_POLL)
        begin_windows_anew(self._ports)

    def _watch(self) -> None:
        """Poll the store's hints, unless it posts them."""
        events = self._store.events()
        if not isinstance(events, Webhook):
            watcher = Watcher(events, lambda prefix: self._wake(LOOK + prefix))
            watcher.start()
            self._parts.callback(watcher.stop)

    # --- what wakes it, and what each part tells the others ---------------------------------------------------------
    def _answer(self, name: str) -> None:
        if name == _CERTIFICATE:
            self._gateway.use_certificate(*self._certificate())
            self._wakeups.set(_CERTIFICATE, _now() + _RENEWAL)
        else:
            answer(name, self._ports)

    def _wake(self, name: str) -> None:
        self._wakeups.set(name, _now())

    def _committed(self, writes: Sequence[Write]) -> None:
        """Let the gateway see a new split or a revoked key at once."""
        for write in writes:
            if write.kind in {"endpoint", "key"}:
                self._gateway.refresh(write.id)

    def _say_ready(self, connected: Connected) -> None:
        url = f"https://localhost:{self._gateway.port}"
        make_connection(self._home, self._registry, _now, url=url, ca=self._ca)
        if connected.uploader_access_key:
            profile = f"AWS_SHARED_CREDENTIALS_FILE={self._home.aws_profile} aws --profile modeldrop"
            where = f"--endpoint-url {connected.endpoint} s3 cp model.mar s3://{connected.drop.name}/MODEL/VERSION/model.mar"
            self._show(f"drop:  {profile} {where}")
        self._show("key:   modeldrop keys make NAME --scope predict:MODEL")
        call = "-H 'Content-Type: application/json' -d '{\"instances\": [...]}'"
        bearer = f"--cacert {self._ca} -H 'Authorization: Bearer KEY'"
        self._show(f"call:  curl {bearer} {call} {url}/v1/endpoints/MODEL/predict")
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
    sys.setswitchinterval(_SWITCH)
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
