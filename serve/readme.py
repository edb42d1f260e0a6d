"""`python -m serve.readme`: writes the README's table of endpoints from the declarations; a test fails when it is stale."""

from pathlib import Path

from deployments import deployments, endpoints

README = Path("README.md")
START, END = "<!-- table: python -m serve.readme -->", "<!-- end of table -->"


def table() -> str:
    """The endpoints as a Markdown table, in the order of the declarations."""
    rows = ["| endpoint | does | runs | input → output | LoRA |", "|---|---|---|---|---|"]
    for endpoint in endpoints().values():
        models = " → ".join(deployments()[name].model for name in endpoint.deployments)
        lora = "yes" if endpoint.lora else ""
        rows.append(f"| `{endpoint.path}` | {endpoint.summary} | {models} | {endpoint.input_type} → {endpoint.output_type} | {lora} |")
    return "\n".join(rows)


def written(text: str) -> str:
    """`text` with a fresh table between the markers. Raises ValueError when they are missing."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"README.md needs the lines {START!r} and {END!r}")
    return f"{before}{START}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
