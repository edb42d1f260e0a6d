"""Where the time of calls goes."""

from tools.dashboards.boards.words import BY_ENDPOINT, E, mean, quantile, rate
from tools.dashboards.build import Board, Panel, Query, Row

CALL = Board(
    "call",
    "A call's life",
    "Where the time of calls goes, and how they end.",
    (
        Row(
            "Ends",
            (
                Panel(
                    "Calls",
                    "A second, by outcome.",
                    "reqps",
                    (Query(rate("ray_ryla_calls_total", "endpoint, state", E), "{{endpoint}} {{state}}"),),
                    "stacked",
                ),
                Panel(
                    "Time of a call, p50",
                    "From acceptance to outcome.",
                    "s",
                    (Query(quantile(0.5, "ray_ryla_call_seconds", "endpoint, backend", E), "{{endpoint}} {{backend}}"),),
                ),
                Panel(
                    "Time of a call, p95",
                    "From acceptance to outcome.",
                    "s",
                    (Query(quantile(0.95, "ray_ryla_call_seconds", "endpoint, backend", E), "{{endpoint}} {{backend}}"),),
                ),
            ),
        ),
        Row(
            "Stages",
            (
                Panel(
                    "Mean time by stage",
                    "queue, lora, denoise, decode, track, swap, encode. What no stage explains is the queue: waiting, loading, moving.",
                    "s",
                    (
                        Query(
                            mean("ray_ryla_stage_seconds", "model, stage"),
                            "{{model}} {{stage}}",
                        ),
                    ),
                    "stacked",
                    16,
                ),
                Panel(
                    "Where the time goes",
                    "Part of all seconds of calls, by stage.",
                    "percentunit",
                    (
                        Query(
                            "sum by (stage) (rate(ray_ryla_stage_seconds_added_total[1h]))"
                            " / scalar(sum(rate(ray_ryla_stage_seconds_added_total[1h])))",
                            "{{stage}}",
                        ),
                    ),
                    "bars",
                ),
                Panel(
                    "Queue, p95",
                    "Time of a call that no stage explains.",
                    "s",
                    (Query(quantile(0.95, "ray_ryla_stage_seconds", "model", 'stage="queue"'), "{{model}}"),),
                ),
                Panel(
                    "Objective met",
                    "Part of calls begun in time and done.",
                    "percentunit",
                    (Query("1 - endpoint:ryla_missed:ratio_rate30m", "{{endpoint}}"),),
                ),
                Panel(
                    "Serve: processing, p95",
                    "As Ray Serve sees it, by its deployment.",
                    "ms",
                    (
                        Query(
                            quantile(0.95, "ray_serve_deployment_processing_latency_ms", "deployment"),
                            "{{deployment}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
    BY_ENDPOINT,
)
