"""Face swap: detect, track, swap, blend and restore, with several engines behind one protocol."""
