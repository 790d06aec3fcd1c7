"""Losses, the one loop, its EMA and its checkpoints."""
