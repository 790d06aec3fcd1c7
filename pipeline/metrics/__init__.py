"""How good a prediction is.

`f2` is the competition's metric, one list of objects against another; `summaries` says it in a few
numbers. `pixels` counts what two lists share, `coefficients` are Dice, Jaccard and cosine of that.
"""
