"""One outcome for each request of a batch, whatever the model raised: only who sent a bad row is told so."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from modelserver.errors import RequestError, model_failed
from modelserver.log import emit, failure
from modelserver.rows import Prediction, Rows, joined

Outcome: TypeAlias = Prediction | RequestError
# A model may raise anything, sys.exit() included, and must not end the thread that calls it.
RAISED = (Exception, SystemExit)
# The frameworks' own; they are told by name, so that none has to be imported for it.
OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError", "ResourceExhaustedError")


class Predict(Protocol):
    def __call__(self, batch: Sequence[Rows], /) -> Sequence[Prediction]: ...


def ignore(_: int) -> None:
    """For who does not learn from it."""


def predict_each(predict: Predict, batch: Sequence[Rows], ran_out: Callable[[int], None] = ignore) -> Sequence[Outcome]:
    """One outcome a request: where a call raises, each request and then each row is tried by itself.

    Where memory ran out the batch is halved once: to try row by row would only run out again and again.
    """
    try:
        return predict(batch)
    except RAISED as error:
        if not is_out_of_memory(error):
            return _each(predict, batch, error)
    # Outside of the handler: the error's traceback holds what filled the memory.
    ran_out(sum(rows.count for rows in batch))
    return _halved(predict, batch)


def is_out_of_memory(error: BaseException) -> bool:
    return any(kind.__name__ in OUT_OF_MEMORY for kind in type(error).__mro__)


def _halved(predict: Predict, batch: Sequence[Rows]) -> Sequence[Outcome]:
    middle = len(batch) // 2
    if not middle:
        return [_too_large(batch[0])]
    return [outcome for half in (batch[:middle], batch[middle:]) for outcome in _half(predict, half)]


def _half(predict: Predict, half: Sequence[Rows]) -> Sequence[Outcome]:
    try:
        return predict(half)
    except RAISED as error:
        if not is_out_of_memory(error):
            return _each(predict, half, error)
    return [_too_large(rows) for rows in half]


def _too_large(rows: Rows) -> RequestError:
    message = f"the model ran out of memory with the {rows.count} rows of this request; send fewer, or try again"
    emit("out_of_memory", rows=rows.count)
    return RequestError(503, "out_of_memory", message, retry_after=1)


def _each(predict: Predict, batch: Sequence[Rows], error: BaseException) -> Sequence[Outcome]:
    if len(batch) > 1:
        return [predict_each(predict, [rows])[0] for rows in batch]
    return [_row_by_row(predict, batch[0], error)]


def _row_by_row(predict: Predict, rows: Rows, error: BaseException) -> Outcome:
    parts: Sequence[Rows] = rows.split()
    if len(parts) <= 1:
        return _said(error)
    predictions: list[Prediction] = []
    for i, part in enumerate(parts):
        try:
            predictions.extend(predict([part]))
        except RAISED as row_error:
            return _said(row_error, f"instances[{i}]")
    return joined(predictions)


def _said(error: BaseException, where: str = "") -> RequestError:
    """Log what a model raised with its traceback, of which the client gets only the message."""
    if not isinstance(error, RequestError):
        emit("model_error", **failure(error))
    return model_failed(error, where)
