"""Keeps libtiff, which Pillow brings, from writing to standard error."""

import ctypes
import functools
import sys

from PIL import Image


@functools.cache
def silence() -> None:
    """Turns off the lines that libtiff writes about damaged files. Pillow itself turns off only its warnings.

    Where libtiff cannot be reached from outside, as in Windows' builds of Pillow, nothing is changed.
    """
    if sys.platform == "win32":
        return
    try:
        library = ctypes.CDLL(Image.core.__file__)  # symbols of its own libraries are looked up as well
        library.TIFFSetErrorHandler.argtypes = [ctypes.c_void_p]
        library.TIFFSetErrorHandler.restype = ctypes.c_void_p
        library.TIFFSetErrorHandler(None)
    except (OSError, AttributeError):
        return
