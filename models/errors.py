"""Every error this system raises on purpose; `serve/problems.py` maps each class to one HTTP status.

RylaError
├── BadRequest              the caller can mend the request
│   ├── BadMedia            a picture, clip or sound that cannot be used
│   ├── NoFaceFound         a source or target without a usable face
│   └── LoraRejected        a LoRA file that does not fit its base model
├── TooLarge                over a limit on bytes, pixels, frames or seconds
├── NotFound                an unknown LoRA, job or output
├── Unauthorized            no API key, or a wrong one
├── Forbidden               the key is right, the act is not allowed
│   ├── NotLicensed         weights whose licence does not cover this use
│   └── Refused             the safety rules refuse this request
├── PoorQuality             a finished result that failed the gate it was asked to pass
├── Conflict                an idempotency key used for another body
├── Retired                 an endpoint that is gone, with its replacement
├── NotConfigured           a part the operator has not set up
│   ├── WeightsMissing      weights that are not installed
│   └── NoPlace             a model that no card of this cluster holds; it may run elsewhere
├── Overloaded              no capacity now; carries `retry_after_s`
│   └── ReplicaLost         the process that ran the call died; safe to send again
│       └── BackendFailed   a backend outside the cluster could not run the call; carries `kind`
├── Cancelled               the caller went away or asked to stop
├── DeadlineExceeded        the deadline passed before the result
└── OutOfMemory             the card ran out of memory

Errors cross process boundaries by pickle, so each is rebuilt from its positional `args` alone.
"""

from enum import StrEnum


class RylaError(Exception):
    """Root of the family. `args[0]` is a sentence for the caller that tells the way out."""

    @property
    def message(self) -> str:
        """The sentence for the caller."""
        return str(self.args[0]) if self.args else type(self).__name__


class BadRequest(RylaError):
    """The request is wrong in a way its sender can mend."""


class BadMedia(BadRequest):
    """A picture, clip or sound that cannot be decoded or used."""


class NoFaceFound(BadRequest):
    """No usable face where one is needed."""


class LoraRejected(BadRequest):
    """A LoRA file that is malformed or does not fit its base model."""


class TooLarge(RylaError):
    """Over a limit on bytes, pixels, frames or seconds."""


class NotFound(RylaError):
    """An id that names nothing: a LoRA, a job, an output."""


class Unauthorized(RylaError):
    """No API key, or one that is not known."""


class Forbidden(RylaError):
    """The caller is known but may not do this."""


class NotLicensed(Forbidden):
    """The licence of the weights does not cover this use."""


class Refused(Forbidden):
    """The safety rules refuse the request. `args` are the sentence and the rule: consent, blocklist, persona, nsfw or minor."""

    @property
    def rule(self) -> str:
        """Which rule refused."""
        return str(self.args[1]) if len(self.args) > 1 else "unnamed"


class PoorQuality(RylaError):
    """The result was made, and failed the quality gate that the caller asked for."""


class Conflict(RylaError):
    """An idempotency key that was used with another body."""


class Retired(RylaError):
    """An endpoint that is gone. `args` are the sentence and the replacement's path."""

    @property
    def replacement(self) -> str | None:
        """Path of the endpoint to call instead."""
        return str(self.args[1]) if len(self.args) > 1 and self.args[1] is not None else None


class NotConfigured(RylaError):
    """A part that the operator has not set up on this server."""


class WeightsMissing(NotConfigured):
    """Weights that are needed for this request are not installed."""


class NoPlace(NotConfigured):
    """No card of this cluster holds the model; a backend outside may run it."""


class Overloaded(RylaError):
    """No capacity now. `args` are the sentence and the seconds after which to try again."""

    @property
    def retry_after_s(self) -> float | None:
        """Honest estimate of the seconds until capacity, or None when unknown."""
        return float(self.args[1]) if len(self.args) > 1 and self.args[1] is not None else None


class ReplicaLost(Overloaded):
    """The process that ran the call died; nothing was delivered, so the call may be sent again."""


class FaultKind(StrEnum):
    """Why a call failed outside the cluster; what a backend's circuit breaker goes by."""

    CONFIG = "config"  # wrong token, not deployed, another version: stays so until an operator acts
    INFRA = "infra"  # the network, the platform or a container
    THROTTLED = "throttled"  # the platform asks for fewer calls
    MODEL = "model"  # the model's own answer to this call
    DEADLINE = "deadline"
    CANCELLED = "cancelled"


class BackendFailed(ReplicaLost):
    """A backend outside the cluster could not run the call. `args` are the sentence, seconds after which to try again, and the kind."""

    @property
    def kind(self) -> FaultKind:
        """Why; INFRA when it was not said."""
        return FaultKind(self.args[2]) if len(self.args) > 2 else FaultKind.INFRA


class Cancelled(RylaError):
    """The caller went away or asked to stop."""


class DeadlineExceeded(RylaError):
    """The deadline passed before there was a result."""


class OutOfMemory(RylaError):
    """The card ran out of memory on this task; the replica asks to be replaced."""
