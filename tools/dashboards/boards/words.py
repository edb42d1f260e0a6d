"""What the boards' queries have in common."""

NO_CARD = "no NVIDIA card is at work (a cluster of CPUs)"
NO_BURST = "bursting is off or no call has burst"
NO_LORA = "no call has asked for a LoRA"
NO_FAULT = "nothing of the kind has happened"

M = 'model=~"$model"'
E = 'endpoint=~"$endpoint"'
BY_MODEL = (("model", "ray_ryla_backlog_seconds"),)
BY_ENDPOINT = (("endpoint", "ray_ryla_calls_total"),)


def quantile(q: float, metric: str, by: str, where: str = "") -> str:
    """A quantile over a histogram's buckets."""
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({metric}_bucket{{{where}}}[$__rate_interval])))"


def rate(metric: str, by: str, where: str = "") -> str:
    """Sum of rates by labels."""
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def over(metric: str, other: str, by: str, where: str = "", first: str = "") -> str:
    """One rate over another. first: of the first alone, beside `where`."""
    return f"{rate(metric, by, ', '.join(filter(None, (where, first))))} / {rate(other, by, where)}"


def mean(histogram: str, by: str, where: str = "") -> str:
    """Mean of what one of our histograms observed."""
    return over(f"{histogram}_added_total", f"{histogram}_count", by, where)
