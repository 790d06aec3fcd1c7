"""Networks: a configuration's `network` section enters, a module from images to logits leaves.

`build` is the door; `smp_networks` and the files of `architectures/` are what it opens, `upsample`
the ways up, `frame` the one normalisation and the one pad rule, `weights` what a network starts
from. `python -m pipeline.commands.list_networks` prints them all.
"""

import sys

from pipeline.networks.torchvision_operators import BeforeTorchvision

sys.meta_path.insert(0, BeforeTorchvision())
