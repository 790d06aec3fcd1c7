"""An image of any extent, window by window: probability maps of any part of it, and its objects.

`pixels` is what is predicted, `grid` where its windows lie. `store` keeps what networks say of them
and blends it. `components` finds what is connected, block by block, and `cells` cuts that into
objects by the rules. What is found does not depend on blocks, and does not change where the image
goes on.
"""

BLOCK_PX = 2048
"""Side of what memory holds of the maps at a time, unless said otherwise."""
