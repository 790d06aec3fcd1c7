"""What networks are computed on: device, precision, and the processes that share a batch."""
