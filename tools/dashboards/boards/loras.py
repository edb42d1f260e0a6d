"""Where LoRAs are."""

from tools.dashboards.boards.words import BY_MODEL, NO_LORA, M, quantile, rate
from tools.dashboards.build import Board, Panel, Query, Row

LORAS = Board(
    "loras",
    "LoRAs",
    "Are LoRAs where the calls are?",
    (
        Row(
            "LoRAs",
            (
                Panel(
                    "Found in memory",
                    "Part of LoRAs found worn, on the card or beside it.",
                    "percentunit",
                    (Query(f"model:ryla_lora_hits:ratio_rate30m{{{M}}}", "{{model}}", NO_LORA),),
                ),
                Panel(
                    "Found by tier",
                    "A second: worn, vram, ram, disk, cold.",
                    "short",
                    (Query(rate("ray_ryla_loras_found_total", "model, tier", M), "{{model}} {{tier}}", NO_LORA),),
                    "stacked",
                ),
                Panel(
                    "Time to have them, p95",
                    "From asking for a call's LoRAs to having them in memory, by the slowest tier.",
                    "s",
                    (Query(quantile(0.95, "ray_ryla_lora_seconds", "model, tier", M), "{{model}} {{tier}}", NO_LORA),),
                ),
                Panel(
                    "In memory", "LoRAs that replicas keep.", "short", (Query(f"sum by (model) (ray_ryla_loras_kept{{{M}}})", "{{model}}"),)
                ),
                Panel(
                    "Evicted",
                    "An hour. Many, with few hits: memory for LoRAs is too small.",
                    "short",
                    (Query(f"sum by (model) (rate(ray_ryla_lora_evictions_total{{{M}}}[1h])) * 3600", "{{model}}", "nothing was evicted"),),
                ),
            ),
        ),
    ),
    BY_MODEL,
)
