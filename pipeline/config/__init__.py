"""What a run may say: each setting with type and range, and the YAML reader that knows lines."""
