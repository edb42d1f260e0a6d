"""`python -m tools.dashboards`: writes the dashboards' JSON into grafana/dashboards/."""

from pathlib import Path

from tools.dashboards.boards import BOARDS
from tools.dashboards.build import to_json

FOLDER = Path("grafana/dashboards")

if __name__ == "__main__":
    for board in BOARDS:
        (FOLDER / f"{board.uid}.json").write_text(to_json(board))
