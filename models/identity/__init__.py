"""Identity modules that keep a face in a generated image: InstantID, PuLID, IP-Adapter."""
