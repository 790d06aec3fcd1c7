"""A run as a page to look at, and two or more runs side by side.

`records` reads what a run left, `outcomes` says image by image what became of it, `figures` draws,
`gallery` chooses the images worth looking at, `page` and `comparison` put it all into one file.
"""
