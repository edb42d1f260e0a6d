"""The one table from error class to HTTP status, and the body that every error has."""

import logging
import math

from starlette.responses import JSONResponse

from models import errors
from models.errors import Overloaded, Retired, RylaError

STATUS: dict[type[RylaError], int] = {
    errors.BadRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Retired: 410,
    errors.TooLarge: 413,
    errors.PoorQuality: 502,
    errors.Overloaded: 429,
    errors.ReplicaLost: 503,
    errors.Cancelled: 499,
    errors.NotConfigured: 501,
    errors.DeadlineExceeded: 504,
    errors.OutOfMemory: 503,
}

log = logging.getLogger("ryla.problems")


def status_of(error: BaseException) -> int:
    """HTTP status of an error: that of its nearest listed class, 500 for what nobody foresaw."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def body_of(error: BaseException, job_id: str | None) -> dict[str, str | None]:
    """`error` and `detail` carry the same sentence, because present callers read either."""
    foreseen = isinstance(error, RylaError)
    text = error.message if foreseen else "something went wrong on our side; the operator finds it under this job id"
    return {"error": text, "detail": text, "type": type(error).__name__ if foreseen else "InternalError", "job_id": job_id}


def problem(error: BaseException, job_id: str | None = None) -> JSONResponse:
    """The HTTP reply to an error. Unforeseen ones are logged with their traceback, which never leaves the server."""
    status = status_of(error)
    if status == 500:
        log.error("job %s failed", job_id, exc_info=error)
    body = body_of(error, job_id)
    headers: dict[str, str] = {}
    if job_id is not None:
        headers["X-Job-Id"] = job_id
    if isinstance(error, Overloaded) and error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Retired) and error.replacement is not None:
        body["replacement"] = error.replacement
    return JSONResponse(body, status_code=status, headers=headers)
