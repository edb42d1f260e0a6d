"""The mirror of the declared deployments on Modal, and the client that calls it within bounds."""
