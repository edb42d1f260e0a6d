"""How long it takes to decide where a call goes: the prediction, the decision and the offers, without a reservation.

    python -m benchmarks.decision [--calls 1000]

The dispatcher's own parts on the real declarations, with the mirror's real client connected to a loopback control plane, while one call is
ahead. Nothing is sent.
"""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from serve.overflow import Mode, Situation, decide
from tests.modal_burst.loopback.server import LoopbackModal
from tests.serve.bursting import BOUNDS, Rig, plan_of, rig_of


async def decided(rig: Rig) -> float:
    """Milliseconds of one decision."""
    plan, foresight = plan_of(), rig.dispatcher._foresight
    began = time.perf_counter()
    async with foresight.ticket(plan) as ticket:
        outlook = await foresight.outlook(plan, ticket)
        situation = Situation(
            mode=Mode.AUTO, wait_s=outlook.wait_s, service_s=outlook.service_s, left_s=600.0, late_s=outlook.late_s, sure=outlook.sure
        )
        decide(situation, lambda: rig.bursts.offers(plan, "a", second_here_s=outlook.second_s))
    return (time.perf_counter() - began) * 1000


async def measure(cloud: LoopbackModal, calls: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        async with rig_of(cloud, Path(folder)) as rig, rig.busy():
            return [await decided(rig) for _ in range(calls)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    options = parser.parse_args()
    with LoopbackModal() as cloud:
        os.environ.update(cloud.env | BOUNDS)
        took = asyncio.run(measure(cloud, options.calls))
    print(f"a decision: p50 {median(took):.3f} ms, p95 {quantiles(took, n=20)[-1]:.3f} ms, {options.calls} calls")


if __name__ == "__main__":
    main()
