"""Reads the cluster's Prometheus metrics: peaks while a load runs, and the project's own lines for an example in the docs."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

OURS = "ray_ryla_"
# Labels that Ray adds and that tell of one run only.
PASSING = re.compile(
    r'(?<=[{,])(?:SessionName|WorkerId|ReplicaId|Version|ip|pid|Component|replica|application|deployment|otel_scope_\w+)="[^"]*",?'
)


def own_lines(text: str) -> list[str]:
    """The lines of a scrape that are the project's metrics, without what Ray adds to every sample but the node's address."""
    kept: list[str] = []
    for line in text.splitlines():
        name = line.split(" ", 3)[2] if line.startswith("#") else line
        if name.startswith(OURS):
            kept.append(line if line.startswith("#") else PASSING.sub("", line).replace(",}", "}"))
    return kept


def samples(lines: Iterable[str], name: str) -> list[tuple[Mapping[str, str], float]]:
    """Labels and value of each sample of the metric `name`."""
    families = text_string_to_metric_families("\n".join(lines) + "\n")
    return [(one.labels, one.value) for family in families for one in family.samples if one.name == name]


@dataclass
class Watch:
    """Scrapes `targets` (URL by node) again and again. last: the project's lines of the latest scrape, by node."""

    targets: Mapping[str, str]
    last: dict[str, list[str]] = field(default_factory=dict)
    reserved: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    share: dict[str, float] = field(default_factory=dict)
    ooms: float = 0.0

    def look(self) -> None:
        """One scrape of every node."""
        scraped = {node: own_lines(httpx.get(url, timeout=5).text) for node, url in self.targets.items()}
        lines = [line for node in scraped.values() for line in node]
        for labels, value in samples(lines, f"{OURS}vram_bytes"):
            if labels.get("kind") == "reserved":
                self.reserved[labels["model"]] = max(self.reserved[labels["model"]], value)
            elif labels.get("kind") == "share":
                self.share[labels["model"]] = value
        self.ooms = max(self.ooms, sum(value for _, value in samples(lines, f"{OURS}out_of_memory_total")))
        if any(scraped.values()):
            self.last = scraped

    def example(self, said: str) -> str:
        """The latest scrape as one text, node by node."""
        parts = [f"# {said}"]
        for node, lines in self.last.items():
            parts += [f"# node: {node}", *lines]
        return "\n".join(parts) + "\n"
