"""Ray's failures, told apart and turned into the project's errors."""

from collections.abc import Generator
from contextlib import contextmanager

from ray.exceptions import ActorDiedError, ActorUnavailableError, NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from models.errors import Cancelled, Overloaded, ReplicaLost, RylaError

RETRY_AFTER_S = 2.0  # a replica is replaced in about this long once its weights are in the page cache


@contextmanager
def ray_faults() -> Generator[None]:
    """Inside, what Ray raises comes out as a RylaError; errors that a runner raised keep their class."""
    try:
        yield
    except RylaError as error:
        raise _plain(error) from None
    except (ActorDiedError, ActorUnavailableError, WorkerCrashedError, NodeDiedError, OutOfMemoryError) as error:
        raise ReplicaLost("the process that ran this call died; nothing was lost but the work, send it again", RETRY_AFTER_S) from error
    except DeploymentUnavailableError as error:
        raise ReplicaLost("this model is not up at the moment; /ready says when it is", RETRY_AFTER_S) from error
    except BackPressureError as error:
        raise Overloaded("every replica of this model is busy and its queue is full; try again later", RETRY_AFTER_S) from error
    except RayTaskError as error:
        if isinstance(error.cause, RylaError):
            raise error.cause from None
        if type(error.cause).__name__ in ("TaskCancelledError", "RequestCancelledError", "CancelledError"):
            raise Cancelled("the call was cancelled") from None
        raise


def _plain(error: RylaError) -> RylaError:
    """Ray raises a class made on the fly that is both the error and a RayTaskError; give back the error itself."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, RylaError) else error
