"""Draws the log of a canvas training: `python -m tools.tiny_weights.curves <folder>/canvas.jsonl --into docs/tiny-weights`.

Writes `canvas.svg`, the curves, and `canvas.jsonl`, the log at a size to keep.
"""

import argparse
import json
from pathlib import Path
from typing import Any

EVERY = 2  # of a course's lines, how many are one that is kept
COLOURS = {"first": "#4c78a8", "second": "#f58518", "painter": "#54a24b"}


def read(log: Path) -> dict[str, list[dict[str, Any]]]:
    """Lines by course, in the order of time."""
    courses: dict[str, list[dict[str, Any]]] = {}
    for line in map(json.loads, log.read_text().splitlines()):
        courses.setdefault(line["course"], []).append(line)
    return courses


def shortened(courses: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What the judge saw, and every `EVERY`-th line of each training with the last; numbers to four digits."""
    kept: list[dict[str, Any]] = []
    for name, lines in courses.items():
        chosen = lines if name == "judge" else [*lines[:-1:EVERY], lines[-1]]
        kept += [{key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in line.items()} for line in chosen]
    return kept


def draw(courses: dict[str, list[dict[str, Any]]], file: Path) -> None:
    """Both planners' loss, the painter's likeness, and the shares of clips that the judge saw as asked, over the seconds."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "ryla", "svg.fonttype": "none"}
    from matplotlib import pyplot as plt

    figure, (planners, painter, judge) = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for name in ("first", "second"):
        planners.semilogy(*_curve(courses[name], "loss"), color=COLOURS[name], linewidth=1, label=f"{name} planner")
    planners.set(title="Planners: loss", xlabel="seconds")
    painter.plot(*_curve(courses["painter"], "decibels"), color=COLOURS["painter"], linewidth=1)
    painter.set(title="Painter: likeness in dB", xlabel="seconds")
    for number, asked in enumerate(key for key in courses["judge"][0] if key not in ("course", "planner", "second", "all")):
        for name, style in (("first", "o-"), ("second", "o--")):
            seen = [line for line in courses["judge"] if line["planner"] == name]
            judge.plot(*_curve(seen, asked), style, color=f"C{number}", markersize=3, label=asked if name == "first" else None)
    judge.set(title="Clips as asked (second planner dashed)", xlabel="seconds", ylim=(-0.02, 1.02))
    for axes in (planners, judge):
        axes.legend(fontsize=8)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def _curve(lines: list[dict[str, Any]], fact: str) -> tuple[list[float], list[float]]:
    """Seconds, and a fact at each."""
    return [line["second"] for line in lines], [line[fact] for line in lines]


def main() -> None:
    """Read the log, write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--into", type=Path, required=True)
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    courses = read(given.log)
    draw(courses, given.into / "canvas.svg")
    (given.into / "canvas.jsonl").write_text("".join(json.dumps(line) + "\n" for line in shortened(courses)))


if __name__ == "__main__":
    main()
