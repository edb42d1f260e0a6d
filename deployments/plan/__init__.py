"""Which models fit on which cards, and the Serve configuration that puts them there: `python -m deployments.plan --l40s 4 --a100 2`."""
