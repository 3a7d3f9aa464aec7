"""A gateway as one writes it with Starlette and httpx, to be measured beside ours: TLS, key check, split, metrics.

`python starlette_proxy.py SETTINGS.json` serves with one uvicorn process on uvloop and httptools. It hashes and splits
as ours does, and keeps its connections to the replicas. It does less: bodies aren't judged, a failed try isn't
repeated, and who answered isn't said in the body.
"""

import contextlib
import hashlib
import json
import random
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import uvicorn
from prometheus_client import Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chalicelib.domain.split import Split, choose

REQUESTS = Counter("proxy_requests", "Requests of a deployment.", ("endpoint", "deployment", "status"))
LATENCY = Histogram("proxy_latency_seconds", "Time of a deployment to answer.", ("endpoint", "deployment"))
DROPPED = {
    "host", "connection", "keep-alive", "content-length", "transfer-encoding", "expect", "te", "trailer", "upgrade",
    "authorization", "cookie",
}  # fmt: skip
PASSED = httpx.Limits(max_connections=None, max_keepalive_connections=64)


@dataclass(frozen=True)
class Served:
    """An endpoint: its split, and a client for each deployment."""

    split: Split
    clients: Mapping[str, httpx.AsyncClient]


class Proxy:
    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._keys = {key["sha256"]: frozenset(key["scopes"]) for key in settings["keys"]}
        self._settings = settings
        self._endpoints: dict[str, Served] = {}

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:  # noqa: ARG002
        """Keep the clients' connections for as long as the server lives."""
        async with contextlib.AsyncExitStack() as stack:
            for name, endpoint in self._settings["endpoints"].items():
                clients = {}
                for id_, socket in endpoint["sockets"].items():
                    transport = httpx.AsyncHTTPTransport(uds=socket, limits=PASSED)
                    client = httpx.AsyncClient(transport=transport, base_url="http://replica", timeout=60)
                    clients[id_] = await stack.enter_async_context(client)
                self._endpoints[name] = Served(Split(endpoint["weights"]), clients)
            yield

    async def predict(self, request: Request) -> Response:
        name = request.path_params["name"]
        secret = request.headers.get("authorization", "").removeprefix("Bearer ")
        scopes = self._keys.get(hashlib.sha256(secret.encode()).hexdigest())
        if scopes is None:
            return JSONResponse({"error": "no valid key"}, 401)
        if not scopes & {"admin", "predict:*", f"predict:{name}"}:
            return JSONResponse({"error": "not this endpoint's key"}, 403)
        served = self._endpoints[name]
        chosen, _ = choose(served.split, request.headers.get("x-modeldrop-key", ""), random.random())  # noqa: S311
        return await forward(served.clients[chosen], request, name, chosen)

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        return Response(generate_latest(), media_type="text/plain; version=0.0.4")


async def forward(client: httpx.AsyncClient, request: Request, endpoint: str, deployment: str) -> Response:
    headers = [(name, value) for name, value in request.headers.items() if name not in DROPPED]
    began = perf_counter()
    answer = await client.post("/predict", content=await request.body(), headers=headers)
    LATENCY.labels(endpoint, deployment).observe(perf_counter() - began)
    REQUESTS.labels(endpoint, deployment, answer.status_code).inc()
    passed = {name: value for name, value in answer.headers.items() if name not in DROPPED}
    passed |= {"x-modeldrop-deployment": deployment, "x-modeldrop-endpoint": endpoint}
    return Response(answer.content, answer.status_code, passed)


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    proxy = Proxy(settings)
    routes = [
        Route("/v1/endpoints/{name}/predict", proxy.predict, methods=["POST"]),
        Route("/metrics", proxy.metrics),
    ]
    uvicorn.run(
        Starlette(routes=routes, lifespan=proxy.lifespan),
        host="127.0.0.1",
        port=settings["port"],
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_level="warning",
        ssl_certfile=settings["certificate"],
        ssl_keyfile=settings["key"],
    )


if __name__ == "__main__":
    main()
