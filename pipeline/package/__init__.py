"""A finished run as a package that predicts where there is no internet, such as Kaggle's notebooks.

`contents` is what a package holds and how it is checked. `build` makes one of a run, with `wheels`
(the code) and `notebook` (what runs there). `predict` makes a submission of a package and images.
`model` finds the objects of one image; `model_file` is the same contents as one zip. `graph` is the
networks as one function of images, and `graph_file` writes it in one of `graph_forms`.
"""
