"""`python -m benchmarks.capacity`: how many L40S and A100 to own, by a simulated day. `--trace FILE` for the operator's own traffic."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.capacity.contract import PUBLISHED, Published, known
from benchmarks.capacity.day import Day, Outcome, Place, World
from benchmarks.capacity.report import HEAD, plot, plot_limits, row
from benchmarks.capacity.sweep import FACTORS, WINDOWS_S, Prices, all_modal, days, fleets, recommend, rival
from benchmarks.capacity.trace import Trace, generate, read
from deployments import deployments, endpoints
from modal_burst.settings import BurstSettings
from serve.settings import LIST_RATES

PARTS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
VOLUMES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)


def main() -> None:
    options = _options()
    prices = Prices({"L40S": options.l40s_usd, "A100-80GB": options.a100_usd})
    published: Sequence[Published] = PUBLISHED
    if options.trace:
        trace = read(options.trace, {path: len(found.deployments) for path, found in endpoints().items() if found.deployments})
        published = known(trace.paths, (np.bincount(trace.endpoint) / len(trace.at)).tolist(), trace.measured)
    else:
        trace = _generated(published, options.calls, options.seed)
    world = _world(options, published)
    began = time.perf_counter()
    if options.fleet:
        cards = {"L40S": options.fleet[0], "A100-80GB": options.fleet[1]}
        print(HEAD, row("owned + burst", Day(replace(world, place=Place.BOTH, cards=cards), trace).run(), prices), sep="\n")
    else:
        _compare(options, world, trace, prices)
    print(f"\n{len(trace.at):,} calls a run, {time.perf_counter() - began:.0f} s in all")


def _compare(options: argparse.Namespace, world: World, trace: Trace, prices: Prices) -> None:
    """The table, the recommendation, and with `--limits` where owning stops paying."""
    modal = all_modal(world, trace)
    sizes = fleets(world, trace)
    owned = days(world, trace, [{"place": Place.OWNED, "cards": cards} for cards in sizes])
    both = days(world, trace, [{"place": Place.BOTH, "cards": cards} for cards in sizes])
    objective = modal[0].objective if options.objective is None else options.objective
    tried = recommend(world, trace, sizes[-2], prices, objective)
    best, against = tried[0], rival(modal, prices, objective)
    lines = [HEAD, row("all Modal, today (kept 300 s)", modal[0], prices)]
    lines += [
        row(f"all Modal, the mirror (kept {kept:.0f} s)", outcome, prices) for kept, outcome in zip(WINDOWS_S, modal[1:], strict=True)
    ]
    for factor, alone, burst in zip(FACTORS, owned, both, strict=True):
        lines += [row(f"owned only, {factor:g}×", alone, prices), row(f"owned + burst, {factor:g}×", burst, prices)]
    print("\n".join([*lines, row("**recommended**", best, prices)]))
    met = "" if best.objective >= objective else f" (no fleet that was tried begins {objective:.1%} in time)"
    cheaper, than_today = (prices.per_day(other) / prices.per_day(best) for other in (against, modal[0]))
    print(
        f"\nOwn {best.cards['L40S']} L40S and {best.cards['A100-80GB']} A100: {cheaper:.2f} times cheaper than the cheapest all-Modal "
        f"that begins {objective:.1%} in time, {than_today:.2f} times cheaper than today{met}."
    )
    by_price = _by_price([*both, *tried], modal, objective)
    for part, ratio in zip(PARTS, by_price, strict=True):
        print(f"cards at {part:.0%} of Modal's price: {ratio:.2f} times cheaper")
    if options.plots:
        plot(options.plots, trace, modal, owned, both, prices)
    if options.limits:
        by_volume = _by_volume(options, world, prices)
        if options.plots:
            plot_limits(options.plots, PARTS, by_price, VOLUMES, by_volume)


def _by_price(both: list[Outcome], modal: list[Outcome], objective: float) -> list[float]:
    """How many times cheaper the best of the fleets is, by the price of a card as a part of Modal's; no new days are needed."""
    good = [outcome for outcome in both if outcome.objective >= objective] or [max(both, key=lambda outcome: outcome.objective)]
    ratios = list[float]()
    for part in PARTS:
        at = Prices({kind: part * LIST_RATES[kind] * 3600 for kind in ("L40S", "A100-80GB")})
        ratios.append(at.per_day(rival(modal, at, objective)) / min(at.per_day(outcome) for outcome in good))
    return ratios


def _by_volume(options: argparse.Namespace, world: World, prices: Prices) -> list[float]:
    """How many times cheaper the best fleet of each volume is than the cheapest all-Modal as good as today's."""
    ratios = list[float]()
    for calls in VOLUMES:
        trace = _generated([published for published, _, _ in world.endpoints], calls, options.seed)
        modal = all_modal(world, trace)
        objective = modal[0].objective
        best = recommend(world, trace, fleets(world, trace, (2.0,))[0], prices, objective, steps=5)[0]
        ratios.append(prices.per_day(rival(modal, prices, objective)) / prices.per_day(best))
        print(f"{calls:>9,} calls a day: {ratios[-1]:.2f} times cheaper, {dict(best.cards)}, {best.objective:.1%} ({objective:.1%})")
    return ratios


def _generated(published: Sequence[Published], calls: int, seed: int) -> Trace:
    paths = [found.path for found in published]
    return generate(calls, paths, [found.share for found in published], [endpoints()[path].lora for path in paths], seed)


def _world(options: argparse.Namespace, published: Sequence[Published]) -> World:
    found = endpoints()
    return World(
        declared=deployments(),
        endpoints=[(p, found[p.path].deployments, found[p.path].output_type == "video") for p in published],
        place=Place.MODAL,
        cap_usd_per_day=options.cap,
        window_s=options.window,
        most=options.containers,
        speed=options.speed,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--trace", type=Path, help="CSV of seconds,endpoint[,lora][,work_s]; not given, a day is generated")
    parser.add_argument("--calls", type=int, default=100_000, help="calls of the generated day")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than the published service times")
    parser.add_argument("--l40s-usd", type=float, default=0.79, help="an owned L40S, USD an hour")
    parser.add_argument("--a100-usd", type=float, default=1.29, help="an owned A100-80GB, USD an hour")
    parser.add_argument("--cap", type=float, default=float("inf"), help="bursts, USD a day")
    parser.add_argument("--window", type=float, default=BurstSettings().burst_idle_s, help="seconds that bursts' containers are kept idle")
    parser.add_argument("--containers", type=int, default=50, help="of each pool of the mirror, at most")
    parser.add_argument("--objective", type=float, help="share of calls that must begin in time; not given, that of all Modal today")
    parser.add_argument("--fleet", type=int, nargs=2, metavar=("L40S", "A100"), help="run this fleet alone")
    parser.add_argument("--limits", action="store_true", help="also try smaller and larger volumes")
    parser.add_argument("--plots", type=Path, help="folder for the plots")
    return parser.parse_args()


if __name__ == "__main__":
    main()
