"""The parts of the `insightface` engine: SCRFD finds, ArcFace knows, inswapper paints."""
