"""How good a prediction is.

A `metric` says what each predicted object adds to the score of its image; F2, average precision and
Dice are such, found by their keys (`registry`). `matching` compares two tables of objects,
`summaries` says it in a few numbers, and `coefficients` are Dice, Jaccard and cosine of the pixels.
"""
