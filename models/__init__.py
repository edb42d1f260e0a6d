"""How a model runs: tasks, runners, weights and media; knows nothing of HTTP, Ray or Modal."""
