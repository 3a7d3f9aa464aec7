"""The pipeline as a function on AWS runs it: the same verbs on other adapters.

Clients are made when they are first used, and adapters are imported when a function needs them: a cold start pays for
what it does, and a function calls no service that its role doesn't name.
"""

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

from botocore.config import Config
from botocore.session import Session, get_session

from chalicelib.adapters.audit_log import AuditLog
from chalicelib.adapters.best_effort import best_effort
from chalicelib.adapters.dynamodb import DynamoRegistry
from chalicelib.adapters.dynamodb_traffic import DynamoTraffic
from chalicelib.adapters.eventbridge import EventBus
from chalicelib.adapters.s3 import S3Bucket
from chalicelib.adapters.s3_copy import CopyingSealer
from chalicelib.adapters.s3_presign import S3Uploads
from chalicelib.adapters.scheduler import SchedulerTimers, WakeUpQueue
from chalicelib.adapters.service_data import ServiceData
from chalicelib.domain.deploy import Bounds
from chalicelib.domain.rollout import Plan
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records, to_json
from chalicelib.pipeline.wakeups import ADVANCE, CATALOGUE, LOOK, REGISTER
from chalicelib.settings import Settings
from chalicelib.telemetry import NAMESPACE

if TYPE_CHECKING:
    from chalicelib.adapters.questions import HttpQuestions
    from chalicelib.adapters.sagemaker import SageMakerFleet
    from chalicelib.adapters.sagemaker_catalog import ModelRegistryCatalog
    from chalicelib.adapters.sagemaker_clients import Clients
    from chalicelib.adapters.sagemaker_invoke import SageMakerInvoker
    from chalicelib.domain.shadow import Copy
    from chalicelib.operator_settings import OperatorSettings
    from chalicelib.pipeline.predict import Predictor
    from chalicelib.pipeline.shadow import World as ShadowWorld

_SERVICES = (
    "application-autoscaling", "dynamodb", "events", "s3", "sagemaker", "sagemaker-runtime", "scheduler", "sqs",
)  # fmt: skip
# Schedules are right to a minute, and a deployment takes minutes to start: what is seconds on one machine is minutes.
PACE = timedelta(minutes=1)
# A caller waits: what accompanies a prediction is quick or is left.
_PROMPT: Any = {"connect_timeout": 1, "read_timeout": 2, "retries": {"mode": "standard", "total_max_attempts": 3}}
_BRIEF: Any = {"connect_timeout": 1, "read_timeout": 1, "retries": {"mode": "standard", "total_max_attempts": 1}}
# One core inflates an archive at 110 MB/s or so, and a function ends after 12 minutes: what is larger is rejected.
EXPANDED = 48 * 2**30
# SageMaker mounts a version's files itself, and another's image can't say which ones it got.
NO_CONTAINERS = "on AWS the serving image runs every version, and no other image is run"
NO_CO_RESIDENT = "SageMaker gives each deployment instances of its own, so no two share a GPU; say surge or recreate"
PLAN = Plan(step_time=timedelta(minutes=5), start_timeout=timedelta(minutes=30), keep_warm=timedelta(hours=1))


def clock() -> datetime:
    """Return the time; tests set `wiring.clock`."""
    return datetime.now(UTC)


class Lazy:
    """A client that is made when it is first asked for something."""

    def __init__(self, service: str, **more: Any) -> None:
        self._service = service
        self._more = more

    def __getattr__(self, name: str) -> Any:
        if "_client" not in self.__dict__:
            self._client = _session().create_client(self._service, config=_config(self._service, **self._more))
        return getattr(self._client, name)

    def __call__(self) -> Any:
        """Return the client, for adapters that ask for it at each call."""
        return self


class Late:
    """A port whose adapter is imported and made when it is first used: most functions use some of them only."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        if "_made" not in self.__dict__:
            self._made = self._make()
        return getattr(self._made, name)


@cache
def _session() -> Session:
    """Return botocore's session: boto3's adds nothing that we use, and takes a fifth of a cold start."""
    session = get_session()
    session.register_component("data_loader", ServiceData(_SERVICES))
    return session


def _config(service: str, **more: Any) -> Config:
    """Return bounded patience: a function has minutes, and what didn't answer is asked again by its trigger."""
    retries: Any = {"mode": "standard", "total_max_attempts": 4}
    s3: Any = {"addressing_style": "virtual"} if service == "s3" and not os.environ.get("AWS_ENDPOINT_URL") else None
    return Config(**{"connect_timeout": 3, "read_timeout": 20, "retries": retries, "s3": s3, **more})


@cache
def settings(function: str) -> Settings:
    """Return what a function was told; raises MissingSettings."""
    return Settings.read(function, os.environ)


@cache
def ports(function: str) -> Ports:
    """Return everything that the verbs need, for one function."""
    return wire(settings(function))


def wire(told: Settings) -> Ports:
    """Make everything that the verbs need; nothing is called before a verb asks."""
    s3, dynamodb, sqs = (cast("Any", Lazy(service)) for service in ("s3", "dynamodb", "sqs"))
    drop, store = S3Bucket(s3, told.drop_bucket), S3Bucket(s3, told.store_bucket)
    operator = _operator(told)
    return Ports(
        drop=drop,
        store=store,
        sealer=CopyingSealer(drop, store),
        registry=DynamoRegistry(dynamodb, told.table, store, _now),
        fleet=cast("Any", Late(lambda: _fleet(told))),
        invoker=cast("Any", Late(lambda: _invoker(told))),
        metrics=DynamoTraffic(dynamodb, told.table, _now),
        timers=_timers(told, sqs),
        audit=AuditLog(NAMESPACE, told.bus, print),
        uploads=S3Uploads(drop, cast("Any", Lazy("s3", signature_version="s3v4"))),
        bus=EventBus(cast("Any", Lazy("events")), told.bus, to_json),
        clock=_now,
        bounds=operator.bounds,
        questions=cast("Any", Late(lambda: _questions(operator.bounds))),
        defaults=PLAN,
        instance_type=told.instance_type,
        catalog=cast("Any", Late(lambda: _catalog(told))),
        no_co_resident=NO_CO_RESIDENT,
        limits=operator.limits,
        policy=operator.policy,
        quiet=told.quiet,
        pace=PACE,
    )


@cache
def predictor() -> "Predictor":
    """Return what answers predictions; its caches, buckets and pauses are this function instance's."""
    from chalicelib.adapters.shadow_queue import ShadowQueue  # noqa: PLC0415
    from chalicelib.pipeline.predict import Predictor, World  # noqa: PLC0415

    told = settings("api")
    dynamodb, sqs = (cast("Any", Lazy(service, **_PROMPT)) for service in ("dynamodb", "sqs"))
    timers = _timers(told, sqs)
    traffic = DynamoTraffic(dynamodb, told.table, _now)
    world = World(
        registry=DynamoRegistry(dynamodb, told.table, ports("api").store, _now),
        invoker=_invoker(told),
        count=best_effort(traffic.count, "counting a prediction"),
        mark=best_effort(traffic.mark, "counting what an answer is built of"),
        tally=best_effort(traffic.tally, "counting predictions"),
        send=ShadowQueue(cast("Any", Lazy("sqs", **_BRIEF)), told.shadows_queue_url).send,
        look_again=best_effort(lambda endpoint: timers.set(ADVANCE + endpoint, _now()), "waking a rollout"),
        seconds=time.monotonic,
        chance=random.random,
        rate=told.rate_per_endpoint,
    )
    return Predictor(world)


@cache
def shadow_world() -> "ShadowWorld":
    """Return what copies of requests are asked and counted with."""
    from chalicelib.pipeline.shadow import World as ShadowWorld  # noqa: PLC0415

    told = settings("shadow")
    s3, dynamodb = (cast("Any", Lazy(service)) for service in ("s3", "dynamodb"))
    store = S3Bucket(s3, told.store_bucket)
    traffic = DynamoTraffic(dynamodb, told.table, _now)
    records = Records(DynamoRegistry(dynamodb, told.table, store, _now))

    def takes(copy: "Copy") -> bool:
        """Ask whether the endpoint still has this shadow, and take the request: a message may come twice."""
        endpoint = records.endpoint(copy.endpoint)
        shadow = endpoint.value.shadow if endpoint else None
        return shadow == copy.to and traffic.take(f"{copy.to.rollout}#{copy.id}")

    return ShadowWorld(
        invoker=_invoker(told),
        count=traffic.count,
        mark=traffic.mark,
        keep=store.put,
        takes=takes,
        seconds=time.monotonic,
    )


def _invoker(told: Settings) -> "SageMakerInvoker":
    from chalicelib.adapters.sagemaker_invoke import SageMakerInvoker  # noqa: PLC0415
    from chalicelib.adapters.sagemaker_names import deployment_name  # noqa: PLC0415

    return SageMakerInvoker(_runtime, partial(deployment_name, told.stack))


def _runtime(config: Config) -> Any:
    return _session().create_client("sagemaker-runtime", config=config)


def _now() -> datetime:
    return clock()


def _operator(told: Settings) -> "OperatorSettings":
    """Return what the operator allows: the text's bounds, and the parameters that have names of their own."""
    from chalicelib.operator_settings import parse_operator_settings  # noqa: PLC0415

    said = parse_operator_settings(told.bounds)
    most = told.max_instances_per_model or Bounds.max_replicas
    expanded = min(said.limits.expanded, EXPANDED)
    limits = replace(said.limits, expanded=expanded, no_containers=NO_CONTAINERS)
    bounds = replace(said.bounds, instance_types=told.allowed_instance_types, max_replicas=most)
    return replace(said, bounds=bounds, limits=limits)


def _questions(bounds: Bounds) -> "HttpQuestions":
    from chalicelib.adapters.questions import HttpQuestions  # noqa: PLC0415

    return HttpQuestions(bounds.questions)


def _timers(told: Settings, sqs: Any) -> SchedulerTimers:
    uploads = WakeUpQueue(told.uploads_queue_url, told.uploads_queue_arn)
    registrations = WakeUpQueue(told.registrations_queue_url, told.registrations_queue_arn)
    rollouts = WakeUpQueue(told.rollouts_queue_url, told.rollouts_queue_arn)
    queues: Mapping[str, WakeUpQueue] = {
        LOOK: uploads, REGISTER: registrations, CATALOGUE: registrations, ADVANCE: rollouts,
    }  # fmt: skip
    return SchedulerTimers(
        scheduler=cast("Any", Lazy("scheduler")),
        sqs=sqs,
        queues={kind: queue for kind, queue in queues.items() if queue.url},
        group=told.schedule_group,
        role_arn=told.schedule_role_arn,
        clock=_now,
    )


def _fleet(told: Settings) -> "SageMakerFleet":
    from chalicelib.adapters.sagemaker import SageMakerFleet  # noqa: PLC0415
    from chalicelib.adapters.sagemaker_requests import Hosting  # noqa: PLC0415

    hosting = Hosting(
        stack=told.stack,
        store=told.store_bucket,
        role=told.model_role_arn,
        image=told.serving_image,
        instance_type=told.instance_type,
        allowed_images=(told.serving_image, *told.allowed_images),
        allowed_instance_types=(told.instance_type, *told.allowed_instance_types),
        max_instances=told.max_instances_per_model,
        subnets=told.model_subnets,
        security_groups=told.model_security_groups,
        kms_key=told.model_kms_key,
        capture_percent=told.data_capture,
        ami=told.inference_ami,
        capture_to=f"s3://{told.store_bucket}/_captured/",
    )
    return SageMakerFleet(hosting, _sagemaker_clients())


def _catalog(told: Settings) -> "ModelRegistryCatalog":
    from chalicelib.adapters.sagemaker_catalog import ModelRegistryCatalog  # noqa: PLC0415

    return ModelRegistryCatalog(cast("Any", Lazy("sagemaker")), told.stack, told.store_bucket, told.serving_image)


def _sagemaker_clients() -> "Clients":
    from chalicelib.adapters.sagemaker_clients import Clients  # noqa: PLC0415

    return Clients(
        sagemaker=cast("Any", Lazy("sagemaker")),
        runtime=cast("Any", Lazy("sagemaker-runtime", read_timeout=5, retries={"total_max_attempts": 1})),
        scaling=cast("Any", Lazy("application-autoscaling")),
    )


def sweep_records(function: str) -> None:
    """Remove spilled records that no row names any more."""
    registry = ports(function).registry
    if isinstance(registry, DynamoRegistry):
        registry.drop_orphans(timedelta(hours=1))
