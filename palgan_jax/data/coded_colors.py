"""Colors that a file states by numbers: PNG's gAMA and cHRM, and the codes of ITU-T H.273 in PNG's cICP and in the nclx
boxes of AVIF and HEIC.

Pictures of high dynamic range (PQ, HLG) are shown with white at 203 cd/m2, as ITU-R BT.2408 has it: what is brighter is
cut, which is said.
"""

from collections.abc import Callable

import numpy as np

from palgan_jax.color import srgb_to_linear
from palgan_jax.data.color_profile import SRGB_D50, Shaper

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])
_D65 = (0.3127, 0.329)
_SRGB_CHROMATICITIES = (*_D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_SRGB_GAMMA = 1 / 2.2
_SRGB_PRIMARIES, _UNSTATED = 1, 2
_PRIMARIES = {
    4: (0.31, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*_D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
"""x and y of white, red, green and blue."""
_AS_SRGB = (1, 2, 6, 13, 14, 15)
"""Curves of sRGB, and of cameras whose pictures all programs show by that of sRGB."""
_LINEAR, _PQ, _HLG = 8, 16, 18
_GAMMAS = {4: 2.2, 5: 2.8, 17: 2.6}
_WHITE = 203.0  # cd/m2
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2


def shaper_of_codes(primaries: int, transfer: int) -> tuple[Shaper | None, str]:
    """Returns the conversion to sRGB that two code points ask for, None where there is none, and what is to be said.

    The sentence's second half, "" mostly, is about codes that are not known, which change nothing, and about light
    that is cut.
    """
    if primaries not in (_SRGB_PRIMARIES, _UNSTATED, *_PRIMARIES) or transfer not in (*_AS_SRGB, *_CURVES, *_GAMMAS):
        return None, "states colors of an unknown kind: they are taken for sRGB"
    warning = "has a high dynamic range: what is brighter than white paper is cut" if transfer in (_PQ, _HLG) else ""
    if primaries not in _PRIMARIES and transfer in _AS_SRGB:
        return None, warning
    curve = _power(_GAMMAS[transfer]) if transfer in _GAMMAS else _CURVES.get(transfer, srgb_to_linear)
    return Shaper((curve,) * 3, _to_srgb(_PRIMARIES.get(primaries, _SRGB_CHROMATICITIES))), warning


def _pq_to_light(x: np.ndarray) -> np.ndarray:
    """Undoes the curve of SMPTE ST 2084: light, of which 1 is white."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = np.power(x, 1 / m2)
    return 10_000 / _WHITE * np.power(np.maximum(power - c1, 0) / (c2 - c3 * power), 1 / m1)


def _hlg_to_light(x: np.ndarray) -> np.ndarray:
    """Undoes the curve of ARIB STD-B67, for a display of 1000 cd/m2: light, of which 1 is white."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(x <= 0.5, x**2 / 3, (np.exp((x - c) / a) + b) / 12)
    return _HLG_PEAK / _WHITE * scene**_HLG_GAMMA


_CURVES: dict[int, Callable[[np.ndarray], np.ndarray]] = {_LINEAR: lambda x: x, _PQ: _pq_to_light, _HLG: _hlg_to_light}


# ----------------------------------------------------------------------------------------------------- gAMA and cHRM


def shaper_of_chunks(gamma: float | None, chromaticities: tuple[float, ...] | None) -> Shaper | None:
    """Returns the conversion that gAMA and cHRM (x and y of white, red, green and blue) of a PNG ask for.

    None where there is nothing to convert: the numbers of sRGB, which nearly all programs mean by a gamma of 1 / 2.2,
    or numbers that make no sense.
    """
    is_srgb = chromaticities is None or np.allclose(chromaticities, _SRGB_CHROMATICITIES, atol=0.002)
    has_usual_gamma = gamma is None or abs(gamma - _SRGB_GAMMA) < 0.005
    if (is_srgb and has_usual_gamma) or (gamma is not None and not 0.05 < gamma < 20):
        return None
    curve = srgb_to_linear if gamma is None or has_usual_gamma else _power(1 / gamma)
    matrix = np.eye(3)
    if not is_srgb and chromaticities is not None:
        try:
            matrix = _to_srgb(chromaticities)
        except (np.linalg.LinAlgError, ZeroDivisionError):
            return None
    return Shaper((curve,) * 3, matrix)


def _power(exponent: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: x**exponent


def _to_srgb(chromaticities: tuple[float, ...]) -> np.ndarray:
    """Returns the matrix (3, 3) from linear light of these x and y to that of sRGB, by Bradford's matrix."""
    xyz = [
        np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in zip(chromaticities[::2], chromaticities[1::2], strict=True)
    ]
    white, primaries = xyz[0], np.stack(xyz[1:], axis=1)
    primaries = primaries * np.linalg.solve(primaries, white)
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    return np.linalg.inv(SRGB_D50) @ np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ primaries
