"""Cards and nodes."""

from tools.dashboards.boards.words import NO_CARD
from tools.dashboards.build import Board, Panel, Query, Row


def dcgm(title: str, tells: str, unit: str, metric: str) -> Panel:
    """A panel of NVIDIA's exporter, by card and node."""
    return Panel(title, tells, unit, (Query(f"avg by (instance, gpu) ({metric})", "{{instance}} {{gpu}}", NO_CARD),))


HARDWARE = Board(
    "hardware",
    "Hardware",
    "The cards and nodes below the models.",
    (
        Row(
            "Cards",
            (
                dcgm(
                    "Tensor cores active",
                    "Part of time. What the cards really do; utilisation reads 100 % with one tiny kernel.",
                    "percentunit",
                    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
                ),
                dcgm("SMs active", "Part of time.", "percentunit", "DCGM_FI_PROF_SM_ACTIVE"),
                dcgm("Memory used", "Of each card, by all processes.", "decmbytes", "DCGM_FI_DEV_FB_USED"),
                dcgm("Power", "", "watt", "DCGM_FI_DEV_POWER_USAGE"),
                dcgm("Temperature", "", "celsius", "DCGM_FI_DEV_GPU_TEMP"),
                dcgm("Clock", "Falls when a card is hot or short of power.", "mhertz", "DCGM_FI_DEV_SM_CLOCK"),
                dcgm("Video encoder", "", "percent", "DCGM_FI_DEV_ENC_UTIL"),
                dcgm("Video decoder", "", "percent", "DCGM_FI_DEV_DEC_UTIL"),
                dcgm("Last XID error", "48, 63, 64, 79, 94 and 95 mean: take the card out.", "none", "DCGM_FI_DEV_XID_ERRORS"),
            ),
        ),
        Row(
            "Nodes",
            (
                Panel("Answers", "1 for a node whose metrics are scraped.", "short", (Query("up", "{{job}} {{instance}}"),)),
                Panel("Processor", "", "percent", (Query("avg by (ip) (ray_node_cpu_utilization)", "{{ip}}"),)),
                Panel(
                    "Main memory",
                    "",
                    "bytes",
                    (
                        Query("max by (ip) (ray_node_mem_used)", "{{ip}} used"),
                        Query("max by (ip) (ray_node_mem_total)", "{{ip}} all"),
                    ),
                ),
                Panel("Disk free", "", "bytes", (Query("min by (ip) (ray_node_disk_free)", "{{ip}}"),)),
                Panel(
                    "Object store",
                    "Used by frames under way.",
                    "bytes",
                    (Query("sum by (NodeAddress) (ray_object_store_used_memory)", "{{NodeAddress}}"),),
                ),
                Panel(
                    "Network",
                    "Bytes a second, in and out.",
                    "Bps",
                    (
                        Query("sum by (ip) (ray_node_network_receive_speed)", "{{ip}} in"),
                        Query("sum by (ip) (ray_node_network_send_speed)", "{{ip}} out"),
                    ),
                ),
            ),
        ),
    ),
)
