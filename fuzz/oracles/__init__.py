"""The same files read by other code: h5py, NumPy, torch, the csv module, Pillow, tifffile, Zarr.

An oracle raises where its library refuses the file, and says what differs where both read it.
"""


class RefusedError(Exception):
    """A file that the library reads and should not: it is not whole, or not of the kind."""
