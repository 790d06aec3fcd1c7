"""Random changes to a training crop, each a file: adding one needs that file and a line of config.

A file declares `KIND`, when it changes a crop (see `pipeline.config.augment`), and `transform`,
which returns the albumentations transform. The keyword-only arguments of `transform` are its keys
in the `augment` section, with their types and ranges; their defaults turn the change off, and then
`transform` is not called. albumentations is imported inside, since the schema reads these files.
"""

import os

# albumentations asks the network for a newer release on import, unless told not to before.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
