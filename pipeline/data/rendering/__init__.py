"""Satellite scenes drawn from numbers alone: the ground of `pipeline.data.demo`.

`fields` makes noise and waves, `land` the coasts, `sea` the water and the clouds, `fleet` says
where ships lie, `vessels` draws them, `scenes` puts one scene together. Nothing here reads or
writes a file.

The same seed gives the same bytes on every machine: arrays go through numpy's element-wise
arithmetic only (each operation is rounded by IEEE 754, none is fused), sines come from a rounded
table, sums run over integers, and OpenCV is used where it works in integers.
"""
