"""The context that TorchServe's handlers are given: same names, same answers, none of its code."""

from collections.abc import Mapping, Sequence
from typing import Any

from modelserver.handler_metrics import Metrics

SERVER_NAME = "modelserver"
SERVER_VERSION = "0.12.0"  # of the handler contract that is kept


class RequestHeaders(dict[str, str]):
    """Names in lower case, found however they are written: TorchServe keeps them as the client wrote them."""

    def __getitem__(self, key: str) -> str:
        return super().__getitem__(key.lower())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and super().__contains__(key.lower())

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key.lower(), default)


class Exchange:
    """One row's request headers and what the handler sets on its response."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.request_headers = RequestHeaders(headers)
        self.response_headers: dict[str, str] = {}
        self.status = 200
        self.phrase = ""

    def get_request_property(self, key: str) -> str | None:
        found: str | None = self.request_headers.get(key)
        return found

    def get_request_properties(self) -> Mapping[str, str]:
        return self.request_headers

    def report_status(self, code: int, reason_phrase: str = "") -> None:
        self.status, self.phrase = code, reason_phrase

    def add_response_property(self, key: str, value: str) -> None:
        self.response_headers[key.lower()] = value

    def get_response_headers(self) -> dict[str, str]:
        return self.response_headers

    def get_response_status_code(self) -> int:
        return self.status

    def get_response_status_phrase(self) -> str:
        return self.phrase


class Context:
    def __init__(
        self,
        *,
        model_name: str,
        model_dir: str,
        manifest: dict[str, Any],
        config: dict[str, Any],
        gpu_id: int | None,
        batch_size: int,
        metrics: Metrics,
    ) -> None:
        self.model_name = model_name
        self.manifest = manifest
        self.model_yaml_config = config
        self.metrics = metrics
        self.request_ids: dict[int, str] | None = None
        self.request_processor: Sequence[Exchange] = []
        self.system_properties: dict[str, Any] = {
            "model_dir": model_dir,
            "gpu_id": gpu_id,
            "batch_size": batch_size,
            "server_name": SERVER_NAME,
            "server_version": SERVER_VERSION,
            "limit_max_image_pixels": True,
        }

    def begin(self, headers: Sequence[Mapping[str, str]], ids: Sequence[str]) -> None:
        """Point the context at the rows of the next call."""
        self.request_processor = [Exchange(row) for row in headers]
        self.request_ids = dict(enumerate(ids))

    def get_request_id(self, idx: int = 0) -> str | None:
        return (self.request_ids or {}).get(idx)

    def get_request_header(self, idx: int, key: str) -> str | None:
        return self.request_processor[idx].get_request_property(key)

    def get_all_request_header(self, idx: int) -> Mapping[str, str]:
        return self.request_processor[idx].request_headers

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.set_response_header(idx, "content-type", value)

    def get_response_content_type(self, idx: int) -> str | None:
        return self.request_processor[idx].response_headers.get("content-type")

    def get_response_headers(self, idx: int) -> dict[str, str]:
        return self.request_processor[idx].response_headers

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        self.request_processor[idx].add_response_property(key, value)

    def get_response_status(self, idx: int) -> tuple[int, str]:
        return self.request_processor[idx].status, self.request_processor[idx].phrase

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.request_processor[idx].report_status(code, phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        for exchange in self.request_processor:
            exchange.report_status(code, phrase)
