"""The losses that a configuration may list, a file each; `config.losses` finds them.

A loss takes logits, never probabilities, and truth: of the logits' shape, 0 or 1 in their type, for
a sigmoid per channel; int64 (N, H, W) for a softmax over the channels. `training.objective` gives
it float32 (float64 if given that) and checks the shapes. A file imports torch where it computes, so
that reading a configuration stays quick.
"""
