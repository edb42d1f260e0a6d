"""The Ray Serve applications and the HTTP API: loops over the declarations and names no endpoint or model."""
