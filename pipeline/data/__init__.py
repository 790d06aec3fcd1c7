"""Images and their truth: found, checked, split, cropped, augmented; and the rendered demo."""
