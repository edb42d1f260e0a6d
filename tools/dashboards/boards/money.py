"""What calls cost."""

from tools.dashboards.boards.words import BY_ENDPOINT, NO_BURST, E, rate
from tools.dashboards.build import Board, Panel, Query, Row

MONEY = Board(
    "money",
    "Burst and money",
    "What calls cost, here and outside, and against which cap.",
    (
        Row(
            "Money",
            (
                Panel(
                    "Dollars an hour",
                    "What calls cost, by backend.",
                    "currencyUSD",
                    (Query("backend:ryla_cost_usd:per_hour", "{{backend}}"),),
                    "stacked",
                ),
                Panel(
                    "Idle dollars an hour",
                    "Cards held by replicas and not used, at the card's rate.",
                    "currencyUSD",
                    (Query("card:ryla_idle_usd:per_hour", "{{card}}"),),
                    "stacked",
                ),
                Panel(
                    "A picture, a clip",
                    "Mean cost of one, by backend.",
                    "currencyUSD",
                    (Query("backend_media:ryla_output_usd:mean30m", "{{media}} {{backend}}"),),
                    "bars",
                ),
                Panel(
                    "Delivered",
                    "Pictures and clips a second.",
                    "reqps",
                    (Query(rate("ray_ryla_outputs_total", "media, backend"), "{{media}} {{backend}}"),),
                    "stacked",
                ),
                Panel(
                    "Card seconds billed",
                    "A second, by endpoint.",
                    "short",
                    (Query(rate("ray_ryla_gpu_seconds_total", "endpoint, backend", E), "{{endpoint}} {{backend}}"),),
                    "stacked",
                ),
            ),
        ),
        Row(
            "Bursts",
            (
                Panel(
                    "Decisions",
                    "Where calls were sent, and why.",
                    "reqps",
                    (Query("sum by (route, reason) (rate(ray_ryla_burst_decisions_total[$__rate_interval]))", "{{route}} {{reason}}"),),
                    "stacked",
                ),
                Panel(
                    "Share",
                    "Part of calls that ran outside.",
                    "percentunit",
                    (
                        Query(
                            'sum(rate(ray_ryla_calls_total{backend=~"modal.*"}[1h])) / sum(rate(ray_ryla_calls_total[1h]))',
                            "outside",
                            NO_BURST,
                        ),
                    ),
                ),
                Panel(
                    "Against the cap",
                    "Spent outside in a day over what may be.",
                    "percentunit",
                    (
                        Query(
                            'sum(increase(ray_ryla_cost_usd_total{backend=~"modal.*"}[1d])) / max(ray_ryla_burst_cap_usd{period="day"})',
                            "of the day's cap",
                            NO_BURST,
                        ),
                    ),
                ),
                Panel("Caps", "", "currencyUSD", (Query("max by (period) (ray_ryla_burst_cap_usd)", "a {{period}}", NO_BURST),), "number"),
            ),
        ),
    ),
    BY_ENDPOINT,
)
