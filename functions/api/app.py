"""Answers people, CI systems and apps behind API Gateway: the control API and predictions."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.correlation_paths import API_GATEWAY_REST
from chalice.app import Chalice

from chalicelib import api, predict_api, wiring
from chalicelib.telemetry import NAMESPACE, traced

wiring.settings("api")
logger = Logger(service="api")
metrics = Metrics(namespace=NAMESPACE, service="api")
app = Chalice("modeldrop", configure_logs=False)
app.log = logger
app.register_blueprint(api.routes)
app.register_blueprint(predict_api.routes)
api.bind(lambda: wiring.ports("api"), beside=predict_api.OPERATIONS)
predict_api.bind(predictor=wiring.predictor, ports=lambda: wiring.ports("api"))


@traced
@metrics.log_metrics
@logger.inject_lambda_context(correlation_id_path=API_GATEWAY_REST, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    answer: dict[str, Any] = app(event, context)
    predict_api.measure(answer, metrics)
    return answer
