"""`python -m benchmarks.capacity`: how many L40S and A100 to own, by a simulated day. `--trace FILE` for the operator's own traffic."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.capacity.contract import PUBLISHED
from benchmarks.capacity.day import Day, Outcome, Place, World
from benchmarks.capacity.report import HEAD, plot, plot_limits, row
from benchmarks.capacity.sweep import FACTORS, Prices, all_modal, days, fleets, recommend
from benchmarks.capacity.trace import Trace, generate, read
from deployments import deployments, endpoints
from serve.settings import LIST_RATES

PARTS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
VOLUMES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)


def main() -> None:
    options = _options()
    world, shares = _world(options)
    trace = _trace(options, world, shares, options.calls)
    prices = Prices({"L40S": options.l40s_usd, "A100-80GB": options.a100_usd})
    began = time.perf_counter()
    if options.fleet:
        cards = {"L40S": options.fleet[0], "A100-80GB": options.fleet[1]}
        print(HEAD, row("owned + burst", Day(replace(world, place=Place.BOTH, cards=cards), trace).run(), prices), sep="\n")
        print(f"\n{len(trace.at):,} calls in {time.perf_counter() - began:.0f} s")
        return
    modal = all_modal(world, trace)
    sizes = fleets(world, trace)
    owned = days(world, trace, [{"place": Place.OWNED, "cards": cards} for cards in sizes])
    both = days(world, trace, [{"place": Place.BOTH, "cards": cards} for cards in sizes])
    objective = modal[0].objective if options.objective is None else options.objective
    best = recommend(world, trace, sizes[-2], prices, objective)
    lines = [HEAD, row("all Modal, today (window 300 s)", modal[0], prices)]
    lines.append(row(f"all Modal, the mirror (window {world.window_s:.0f} s)", modal[1], prices))
    lines.append(row("all Modal, the mirror (window 300 s)", modal[2], prices))
    for factor, alone, burst in zip(FACTORS, owned, both, strict=True):
        lines += [row(f"owned only, {factor:g}×", alone, prices), row(f"owned + burst, {factor:g}×", burst, prices)]
    lines.append(row("**recommended**", best, prices))
    print("\n".join(lines))
    ratio = _rival(modal, prices, objective) / prices.per_day(best)
    met = "" if best.objective >= objective else f" (no fleet that was tried begins {objective:.1%} in time)"
    print(
        f"\nOwn {best.cards['L40S']} L40S and {best.cards['A100-80GB']} A100: {ratio:.2f} times cheaper than the cheapest all-Modal "
        f"that begins as many in time, {prices.per_day(modal[0]) / prices.per_day(best):.2f} times cheaper than today{met}."
    )
    print(f"{len(trace.at):,} calls a run, {time.perf_counter() - began:.0f} s in all")
    if options.plots:
        plot(options.plots, trace, modal, owned, both, prices)
    if options.limits:
        _limits(options, world, shares, [*both, best], modal, objective)


def _rival(modal: list[Outcome], prices: Prices, objective: float) -> float:
    """USD a day of the cheapest way to run everything on Modal that meets the objective."""
    return min(prices.per_day(outcome) for outcome in modal if outcome.objective >= objective or outcome is modal[0])


def _limits(
    options: argparse.Namespace, world: World, shares: list[float], both: list[Outcome], modal: list[Outcome], objective: float
) -> None:
    """Where owning stops paying, by price (no new days are needed) and by volume."""
    good = [outcome for outcome in both if outcome.objective >= objective] or both[-1:]
    by_price = []
    for part in PARTS:
        at = Prices({kind: part * LIST_RATES[kind] * 3600 for kind in ("L40S", "A100-80GB")})
        by_price.append(_rival(modal, at, objective) / min(at.per_day(outcome) for outcome in good))
    prices = Prices({"L40S": options.l40s_usd, "A100-80GB": options.a100_usd})
    by_volume = []
    for calls in VOLUMES:
        trace = generate(calls, [p.path for p, _, _ in world.endpoints], shares, _loras(world), options.seed)
        today = all_modal(world, trace)[0]
        best = recommend(world, trace, fleets(world, trace, (2.0,))[0], prices, today.objective, steps=5)
        by_volume.append(prices.per_day(today) / prices.per_day(best))
        print(
            f"{calls:>9,} calls a day: {by_volume[-1]:.2f} times cheaper, {dict(best.cards)}, {best.objective:.1%} ({today.objective:.1%})"
        )
    for part, ratio in zip(PARTS, by_price, strict=True):
        print(f"cards at {part:.0%} of Modal's price: {ratio:.2f} times cheaper")
    if options.plots:
        plot_limits(options.plots, PARTS, by_price, VOLUMES, by_volume)


def _world(options: argparse.Namespace) -> tuple[World, list[float]]:
    known, declared = endpoints(), deployments()
    rows = [(p, known[p.path].deployments, known[p.path].output_type == "video") for p in PUBLISHED if p.path in known]
    world = World(
        declared=declared,
        endpoints=rows,
        place=Place.MODAL,
        cap_usd_per_day=options.cap,
        window_s=options.window,
        most=options.containers,
        speed=options.speed,
    )
    return world, [published.share for published, _, _ in rows]


def _loras(world: World) -> list[bool]:
    return [endpoints()[published.path].lora for published, _, _ in world.endpoints]


def _trace(options: argparse.Namespace, world: World, shares: list[float], calls: int) -> Trace:
    paths = [published.path for published, _, _ in world.endpoints]
    return read(options.trace, paths) if options.trace else generate(calls, paths, shares, _loras(world), options.seed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--trace", type=Path, help="CSV of seconds,endpoint[,lora]; not given, a day is generated")
    parser.add_argument("--calls", type=int, default=100_000, help="calls of the generated day")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than the published service times")
    parser.add_argument("--l40s-usd", type=float, default=0.79, help="an owned L40S, USD an hour")
    parser.add_argument("--a100-usd", type=float, default=1.29, help="an owned A100-80GB, USD an hour")
    parser.add_argument("--cap", type=float, default=1e12, help="bursts, USD a day")
    parser.add_argument("--window", type=float, default=60.0, help="seconds that the mirror keeps an idle container")
    parser.add_argument("--containers", type=int, default=50, help="of each pool of the mirror, at most")
    parser.add_argument("--objective", type=float, help="share of calls that must begin in time; not given, that of all Modal today")
    parser.add_argument("--fleet", type=int, nargs=2, metavar=("L40S", "A100"), help="run this fleet alone")
    parser.add_argument("--limits", action="store_true", help="also find where owning stops paying")
    parser.add_argument("--plots", type=Path, help="folder for the plots")
    return parser.parse_args()


if __name__ == "__main__":
    main()
