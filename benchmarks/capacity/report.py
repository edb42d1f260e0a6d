"""The days as a table, plots, and a page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.capacity.day import Outcome
from benchmarks.capacity.sweep import Prices
from benchmarks.capacity.trace import Trace

HEAD = (
    "| where | L40S | A100 | p50 s | p95 s | p99 s | in time | refused | on Modal | cards busy | $/day owned | $/day Modal "
    "| **$/day** | $/image | $/clip |\n|" + "---|" * 15
)


def row(name: str, outcome: Outcome, prices: Prices) -> str:
    """One line of the table."""
    owned, burst = outcome.owned_usd(prices.per_hour), outcome.burst_usd / outcome.days
    image, clip = each(outcome, prices)
    p50, p95, p99 = (seconds(outcome, part) for part in (50, 95, 99))
    return (
        f"| {name} | {outcome.cards.get('L40S', 0)} | {outcome.cards.get('A100-80GB', 0)} | {p50} | {p95} | {p99} "
        f"| {outcome.objective:.1%} | {np.isinf(outcome.took).mean():.1%} | {outcome.burst.mean():.1%} | {outcome.used:.0%} "
        f"| {owned:,.0f} | {burst:,.0f} | **{owned + burst:,.0f}** | {image:.4f} | {clip:.3f} |"
    )


def seconds(outcome: Outcome, percent: float) -> str:
    """A percentile of the time that calls took; refused ones count as endless."""
    value = float(np.sort(outcome.took)[min(len(outcome.took) - 1, int(len(outcome.took) * percent / 100))])
    return "∞" if np.isinf(value) else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def each(outcome: Outcome, prices: Prices) -> tuple[float, float]:
    """USD a picture and a clip: the day's money shared out by the work that was asked for."""
    done = np.isfinite(outcome.took)
    total, counts = prices.per_day(outcome) * outcome.days, [int((done & (outcome.clip == kind)).sum()) for kind in (False, True)]
    work = [float(outcome.work[done & (outcome.clip == kind)].sum()) for kind in (False, True)]
    image, clip = (total * part / (sum(work) or 1.0) / max(count, 1) for part, count in zip(work, counts, strict=True))
    return image, clip


def plot(folder: Path, trace: Trace, modal: Sequence[Outcome], owned: Sequence[Outcome], both: Sequence[Outcome], prices: Prices) -> None:
    """Money and objective by fleet size, and how the best of the fleets spends its day."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "ryla"
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    cards = [sum(outcome.cards.values()) for outcome in both]
    figure, (money, time) = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    paid = [outcome.owned_usd(prices.per_hour) for outcome in both]
    money.stackplot(cards, paid, [o.burst_usd / o.days for o in both], labels=["owned cards", "bursts"], colors=["#4c78a8", "#f58518"])
    names = ("all Modal, today", "all Modal, the mirror, kept 60 s", "the same, kept 300 s")
    for outcome, name, style in zip((modal[0], modal[2], modal[-1]), names, ("-", "--", ":"), strict=True):
        money.axhline(prices.per_day(outcome), color="black", linestyle=style, linewidth=1, label=name)
        time.axhline(outcome.objective, color="black", linestyle=style, linewidth=1, label=name)
    money.set(xlabel="cards owned", ylabel="USD a day", title="Money", ylim=(0, None))
    time.plot(cards, [o.objective for o in both], "o-", color="#f58518", label="owned + burst")
    time.plot(cards, [o.objective for o in owned], "o-", color="#4c78a8", label="owned only")
    time.set(xlabel="cards owned", ylabel="calls that begin in time", title="Objective", ylim=(0, 1.02))
    for axes in (money, time):
        axes.legend(fontsize=8)
    figure.savefig(folder / "fleets.svg", metadata={"Date": None})
    plt.close(figure)
    figure, axes = plt.subplots(figsize=(11, 2.8), layout="constrained")
    hours = trace.at / 3600
    bins = np.arange(0, 24.01, 0.25)
    axes.hist(hours, bins, color="#bab0ac", label="calls")
    axes.hist(hours[both[-1].burst], bins, color="#f58518", label=f"of them on Modal, with {cards[-1]} cards")
    axes.hist(hours[~both[-1].in_time], bins, histtype="step", color="black", label="of them begun late")
    axes.set(xlabel="hour", ylabel="calls in 15 minutes", xlim=(0, 24))
    axes.legend(fontsize=8)
    figure.savefig(folder / "day.svg", metadata={"Date": None})
    plt.close(figure)


def plot_limits(
    folder: Path, parts: Sequence[float], by_price: Sequence[float], volumes: Sequence[int], by_volume: Sequence[float]
) -> None:
    """Where owning stops paying: all Modal's cost over that of owned + burst, by the price of cards and by the day's calls."""
    from matplotlib import pyplot as plt

    figure, (price, volume) = plt.subplots(1, 2, figsize=(11, 3.2), layout="constrained")
    price.plot(parts, by_price, "o-", color="#54a24b")
    price.set(xlabel="price of an owned card, as a part of Modal's", ylabel="times cheaper than all Modal", title="By price")
    volume.semilogx(volumes, by_volume, "o-", color="#54a24b")
    volume.set(xlabel="calls a day", title="By volume")
    for axes in (price, volume):
        axes.axhline(1, color="black", linewidth=1)
        axes.set_ylim(0, None)
    figure.savefig(folder / "limits.svg", metadata={"Date": None})
    plt.close(figure)
