"""A model as a download: .ekz, which becomes the same bytes again on the device, with nothing but numpy.

`packing` makes one of any file's bytes, `unpacking` gives them back and proves it; `shrink` makes a network that is
worth packing. Nothing is imported here, so that a device loads the way back alone.
"""
