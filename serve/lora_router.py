"""A request router that knows LoRAs and checkpoints: calls go where what they wear is in memory, and wait there a while before they stray.

Serve's own tries the replica that has the adapter once and then any other, so adapters are loaded again and again, and hands the slot it
found to whichever request is next in line. `multiplexed_model_id` carries the routing key; calls without one go to the less busy of two.
"""

import random
from typing import Any

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from deployments.spec.deployment import Deployment
from serve.affinity import covers
from serve.homes import Homes, ranked

PATIENCE = 0.2  # share of the wait a deployment aims at, after which a call strays from its home
STATS_EVERY_S = 2.0
TASKS = 64  # calls that look for a replica at the same time; those of a busy home must not keep the others from an idle one


def lora_routing(declared: Deployment) -> dict[str, Any]:
    """Router settings of a deployment: this router where replicas differ by what they hold, Serve's own elsewhere."""
    slots = declared.lora_slots or declared.spare_checkpoints
    if not slots:
        return {}
    return {
        "request_router_class": f"{__name__}.{LoraRouter.__name__}",
        "request_router_kwargs": {"slots": slots, "stray_after_s": PATIENCE * declared.replicas.target_wait_s},
        "request_routing_stats_period_s": STATS_EVERY_S,
    }


class LoraRouter(RequestRouter):
    """Routes by key; see the module. Built by Serve in every process that calls the deployment."""

    def initialize_state(self, **kwargs: Any) -> None:
        """Called by Serve. slots: keys a replica holds. stray_after_s: how long a call waits for those that hold its key."""
        self._homes = Homes(int(kwargs["slots"]))
        self._stray_after_s = float(kwargs["stray_after_s"])

    @property
    def max_num_routing_tasks(self) -> int:
        """Calls that may look for a replica at once."""
        return TASKS

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """The replicas to try now, best first; asked again after a pause when all of them are full."""
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True  # the loop would spin without a pause
        if not _key(pending_request):
            return [random.sample(candidate_replicas, min(2, len(candidate_replicas)))]
        by_name = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        return [[by_name[name]] for name in self._wanted(pending_request, by_name)]

    def _wanted(self, request: PendingRequest, replicas: dict[str, RunningReplica]) -> list[str]:
        """Names of the replicas that this request may go to now, best first."""
        key = _key(request)
        having = [name for name, replica in replicas.items() if covers(replica.routing_stats.get("held", ()), key)]
        wanted = self._homes.of(key, list(replicas), dict.fromkeys(having, (key,)))
        if self._waited(request) < self._stray_after_s:
            return wanted
        return [*wanted, *(name for name in ranked(key, list(replicas)) if name not in wanted)]

    def _fulfill_next_pending_request(self, replica: RunningReplica, request_metadata: Any = None) -> None:
        """Give a replica that has room to the oldest request that it need not load for, or else to the oldest that may go there.

        Whichever request found the room; nobody is passed over for longer than the patience that a call has for its home.
        """
        replicas = {known.replica_id.unique_id: known for known in self._replicas.values()}
        name = replica.replica_id.unique_id
        request = self._next(name, replicas)
        if request is None:
            return
        if key := _key(request):
            self._homes.sent(key, name)
        self._cancel_routing_task_for_pending_request(request)
        self._record_queue_wait_time(request)
        request.future.set_result(replica)
        self._remove_pending_request_from_indices(request)

    def _next(self, name: str, replicas: dict[str, RunningReplica]) -> PendingRequest | None:
        may = [
            request
            for request in self._pending_requests_to_fulfill
            if not request.future.done() and (not _key(request) or name in self._wanted(request, replicas))
        ]
        if not may or self._waited(may[0]) > self._stray_after_s:
            return may[0] if may else None
        return next((request for request in may if not _key(request) or self._homes.holds(_key(request), name)), may[0])

    def _waited(self, request: PendingRequest) -> float:
        return self._get_curr_time_s() - request.created_at


def _key(request: PendingRequest) -> str:
    return request.metadata.multiplexed_model_id
