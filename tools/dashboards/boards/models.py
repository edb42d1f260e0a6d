"""How each model does."""

from tools.dashboards.boards.words import BY_MODEL, NO_CARD, NO_FAULT, M, mean, over, quantile, rate
from tools.dashboards.build import Board, Panel, Query, Row

MODELS = Board(
    "models",
    "Models",
    "How each model does: speed, batches, memory, starts.",
    (
        Row(
            "Work",
            (
                Panel(
                    "Step time",
                    "Mean time of a step by stage. The same model and size should not drift.",
                    "s",
                    (Query(f"model_stage:ryla_step_seconds:mean5m{{{M}}}", "{{model}} {{stage}}"),),
                ),
                Panel(
                    "Work against its declaration",
                    "Seconds worked over seconds declared (`seconds_per_unit`): 1 on the card it was measured on.",
                    "percentunit",
                    (
                        Query(
                            over("ray_ryla_worked_seconds_total", "ray_ryla_expected_seconds_total", "model, backend", M),
                            "{{model}} {{backend}}",
                        ),
                    ),
                ),
                Panel("Steps a second", "", "short", (Query(rate("ray_ryla_steps_total", "model, stage", M), "{{model}} {{stage}}"),)),
                Panel(
                    "Batch size",
                    "Mean of calls that shared a run.",
                    "short",
                    (Query(mean("ray_ryla_batch_size", "model", M), "{{model}}"),),
                ),
                Panel("Calls running", "", "short", (Query(f"sum by (model) (ray_ryla_running_calls{{{M}}})", "{{model}}"),), "stacked"),
                Panel(
                    "Time to stop",
                    "From a cancel to a free card, p95; a step at most.",
                    "s",
                    (Query(quantile(0.95, "ray_ryla_stop_seconds", "model", M), "{{model}}", "no running call was cancelled"),),
                ),
            ),
        ),
        Row(
            "Memory",
            (
                Panel(
                    "Memory of cards",
                    "A replica's allocated and reserved against its share; reserved less allocated is fragmentation.",
                    "bytes",
                    (
                        Query(f'max by (model, kind) (ray_ryla_vram_bytes{{{M}, kind!="card_free"}})', "{{model}} {{kind}}", NO_CARD),
                        Query(f'min by (model) (ray_ryla_vram_bytes{{{M}, kind="card_free"}})', "{{model}} free on its card", NO_CARD),
                    ),
                ),
                Panel(
                    "Out of memory",
                    "Runs that ran out of a card's memory, in a day.",
                    "short",
                    (Query(f"sum by (model, card) (increase(ray_ryla_out_of_memory_total{{{M}}}[1d]))", "{{model}} {{card}}", NO_FAULT),),
                ),
                Panel(
                    "Main memory",
                    "Of replicas' processes.",
                    "bytes",
                    (Query(f"sum by (model) (ray_ryla_replica_rss_bytes{{{M}}})", "{{model}}"),),
                    "stacked",
                ),
            ),
        ),
        Row(
            "Starts and errors",
            (
                Panel(
                    "Replicas started",
                    "In the last hour.",
                    "short",
                    (Query(f"count by (model) (count_over_time(ray_ryla_cold_starts_total{{{M}}}[1h]))", "{{model}}"),),
                ),
                Panel(
                    "Time to load",
                    "Mean, of replicas seen.",
                    "s",
                    (
                        Query(
                            f"sum by (model) (ray_ryla_load_seconds_added_total{{{M}}})"
                            f" / sum by (model) (ray_ryla_load_seconds_count{{{M}}})",
                            "{{model}}",
                        ),
                    ),
                ),
                Panel(
                    "Calls without a result",
                    "A second, by the class of the error.",
                    "reqps",
                    (Query("sum by (reason) (rate(ray_ryla_refusals_total[$__rate_interval]))", "{{reason}}"),),
                    "stacked",
                ),
            ),
        ),
    ),
    BY_MODEL,
)
