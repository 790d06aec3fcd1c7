"""Trained networks on whole images: symmetries, prediction, maps on disk."""
