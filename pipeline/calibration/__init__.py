"""How the rules are chosen: on out-of-fold maps, by the metric in force.

`calibrate` tries one kind of rule after the other and keeps what gains (`gain`). A `problem` is the
maps and the truth, of which `measure` keeps what the metric needs; `search` tries all values of a
few numbers, `learn` fits a candidate selection.
"""
