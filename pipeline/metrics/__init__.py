"""How good a prediction is: F2 over IoU thresholds, coefficients of pixels, and their summaries."""
