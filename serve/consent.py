"""Whose consent the caller attests to, and whether that is enough here."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from deployments.spec.request import Request
from models.errors import Refused


@dataclass(frozen=True, slots=True)
class ConsentRule:
    """A place's rule. required: a source face needs an attestation. standing: tenants whose contract attests for all their calls."""

    required: bool = False
    standing: Collection[str] = ()

    def check(self, request: Request, tenant: str) -> list[dict[str, Any]] | None:
        """What goes into the job's row: an entry a source face, None for a request without any.

        Raises Refused, naming the field, where an attestation is required and missing.
        """
        entries = request.attestations()
        if not entries:
            return None
        standing = tenant in self.standing
        if self.required and not standing:
            _demand(entries)
        by = [("call" if entry["attested"] else "contract" if standing else "nobody") for entry in entries]
        return [dict(entry) | {"attested_by": who, "tenant": tenant, "at": time.time()} for entry, who in zip(entries, by, strict=True)]


def _demand(entries: Sequence[dict[str, Any]]) -> None:
    missing = [str(entry["field"]) for entry in entries if not entry["attested"]]
    if missing:
        raise Refused(
            f"{', '.join(missing)}: this server swaps a face only where the caller attests that the person agreed, or that nobody is shown "
            'who exists; send "consent": {"attested": true} beside it',
            "consent",
        )
