"""Is there enough GPU?"""

from tools.dashboards.boards.words import BY_MODEL, NO_BURST, M
from tools.dashboards.build import Board, Panel, Query, Row

CAPACITY = Board(
    "capacity",
    "Capacity",
    "Is there enough GPU, when will there not be, what does it cost, buy or burst?",
    (
        Row(
            "Is there enough?",
            (
                Panel(
                    "Queue age",
                    "Age of the oldest call that no replica has begun. Above the declared target, calls miss the objective.",
                    "s",
                    (Query(f"model:ryla_queue_age_seconds:max{{{M}}}", "{{model}}"),),
                ),
                Panel(
                    "Predicted drain time",
                    "Work accepted, in predicted seconds, over the replicas that live: the wait of a new call.",
                    "s",
                    (Query(f"model:ryla_drain_seconds:predicted{{{M}}}", "{{model}}"),),
                ),
                Panel(
                    "Calls waiting",
                    "Accepted and not begun.",
                    "short",
                    (Query(f"sum by (model) (ray_ryla_waiting_calls{{{M}}})", "{{model}}"),),
                    "stacked",
                ),
                Panel(
                    "Objective missed",
                    "Part of calls not begun in time or failed, over an hour; 1 % is the budget.",
                    "percentunit",
                    (Query("endpoint:ryla_missed:ratio_rate1h", "{{endpoint}}"),),
                ),
                Panel(
                    "Burn rate",
                    "Times faster than the month's budget allows: 14.4 pages within an hour.",
                    "short",
                    (
                        Query("endpoint:ryla_missed:ratio_rate5m / 0.01", "{{endpoint}} 5 m"),
                        Query("endpoint:ryla_missed:ratio_rate6h / 0.01", "{{endpoint}} 6 h"),
                    ),
                ),
                Panel(
                    "Replicas", "Loaded replicas by model.", "short", (Query(f"model:ryla_replicas:sum{{{M}}}", "{{model}}"),), "stacked"
                ),
            ),
        ),
        Row(
            "How is the cards' time used?",
            (
                Panel(
                    "Offered",
                    "Whole cards that replicas hold.",
                    "short",
                    (Query(f"model_card:ryla_offered_gpu_seconds:rate5m{{{M}}}", "{{model}} {{card}}"),),
                    "stacked",
                ),
                Panel(
                    "Served",
                    "Whole cards that work. Near offered, there is no reserve.",
                    "short",
                    (Query(f"model_card:ryla_busy_gpu_seconds:rate5m{{{M}}}", "{{model}} {{card}}"),),
                    "stacked",
                ),
                Panel(
                    "Idle",
                    "Whole cards held and not used: room for another model.",
                    "short",
                    (Query(f"model_card:ryla_idle_gpu_seconds:rate5m{{{M}}}", "{{model}} {{card}}"),),
                    "stacked",
                ),
            ),
        ),
        Row(
            "When will there not be, and what then?",
            (
                Panel(
                    "Load a week ahead",
                    "Served cards by kind, a line through the last day carried on by a week.",
                    "short",
                    (
                        Query("card:ryla_busy_gpu_seconds:rate5m", "{{card}} now"),
                        Query(
                            "predict_linear(card:ryla_busy_gpu_seconds:rate5m[1d], 7 * 86400)",
                            "{{card}} in a week",
                        ),
                    ),
                ),
                Panel(
                    "Bursts, as cards",
                    "Cards that work outside: what one would have to own to keep these calls at home.",
                    "short",
                    (Query('sum by (card) (rate(ray_ryla_gpu_seconds_total{backend=~"modal.*"}[1h]))', "{{card}}", NO_BURST),),
                ),
                Panel(
                    "Dollars an hour",
                    "Bursts by the hour against an owned card's hour: when the first stays above the second, buy.",
                    "currencyUSD",
                    (
                        Query("backend:ryla_cost_usd:per_hour", "{{backend}}"),
                        Query("max by (card) (ray_ryla_card_rate_usd_per_hour)", "a card: {{card}}"),
                    ),
                ),
            ),
        ),
    ),
    BY_MODEL,
)
