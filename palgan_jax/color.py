"""sRGB <-> CIE Lab (D65, 2 degrees) and the value ranges that the networks see.

One contract for the module: the last axis holds the channels, everything is float32, and every function can be
jitted and differentiated everywhere, also at black, white, gray and colors out of gamut. sRGB is in [0, 1], L in
[0, 100], and a and b are in about [-110, 110]. The numbers are those of scikit-image, so that the two agree.

Arrays say by their own namespace (https://data-apis.org/array-api) what computes them: those of NumPy the host, and
those of JAX its programs. This module imports NumPy alone.
"""

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import jax

Array = TypeVar("Array", "jax.Array", np.ndarray)

AB_RANGE = 110.0
"""The a or b that the networks see as 1.0 (measured on the paper's poster to within 4 %)."""

_XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
LIGHT_OF_RGB = _XYZ_FROM_RGB[1]
"""The shares (3,) of linear R, G and B in the luminance Y."""
_RGB_FROM_XYZ = np.linalg.inv(_XYZ_FROM_RGB)
_WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
RGB_FROM_WHITE_XYZ = _RGB_FROM_XYZ * _WHITE_D65
"""Linear RGB from XYZ as shares of the white's, (3, 3)."""
_WHITE_D50 = np.array([0.96422, 1.0, 0.82521])
_D65_FROM_D50 = np.array(
    [[0.9555766, -0.0230393, 0.0631636], [-0.0282895, 1.0099416, 0.0210077], [0.0122982, -0.0204830, 1.3299098]]
)
"""XYZ under D65 of what looks the same under D50, by the method of Bradford (Lindbloom, brucelindbloom.com)."""
_CUBE_ROOT_FROM = 0.008856
DARK = 0.2068966
"""The cube root of Lab is one above this (L of 8), and linear below."""
_LINEAR_SLOPE = 7.787
DARK_SLOPE = 1 / _LINEAR_SLOPE
"""Light by the cube root of Lab where that is linear."""
_LINEAR_OFFSET = 16.0 / 116.0
LEAST_LIGHT, MOST_LIGHT = -1e-5, 1 + 1e-4
"""Between these, linear R, G and B are inside the sRGB gamut: rounding leaves [0, 1] by a tenth of a level at most."""


def namespace(*arrays: Any) -> Any:
    """Returns the functions that arrays are computed with: NumPy's, or JAX's where one of them is JAX's."""
    jax_arrays = (x for x in arrays if not isinstance(x, np.ndarray | np.generic))
    return next(jax_arrays, np.float32(0)).__array_namespace__()


def exact(xp: Any) -> dict[str, str]:
    """Returns the options of `xp.matmul` and `xp.einsum` for products in float32.

    The default of an accelerator, products of bfloat16, would be visible in Lab and in palettes.
    """
    return {} if xp is np else {"precision": "highest"}


def _apply_matrix(matrix: np.ndarray, x: Array) -> Array:
    xp = namespace(x)
    return xp.matmul(x, xp.asarray(matrix.T, dtype=xp.float32), **exact(xp))


def srgb_to_linear(rgb: Array) -> Array:
    """Undoes the sRGB transfer curve: sRGB of any shape in [0, 1] to linear light in [0, 1]."""
    xp = namespace(rgb)
    curved = rgb > 0.04045
    safe = xp.where(curved, rgb, 1.0)
    return xp.where(curved, ((safe + 0.055) / 1.055) ** 2.4, rgb / 12.92)


def linear_to_srgb(linear: Array) -> Array:
    """Applies the sRGB transfer curve, without clamping: negative light goes through the linear part. Any shape."""
    xp = namespace(linear)
    curved = linear > 0.0031308
    safe = xp.where(curved, linear, 1.0)
    return xp.where(curved, 1.055 * safe ** (1 / 2.4) - 0.055, linear * 12.92)


def rgb_to_lab(rgb: Array) -> Array:
    """Converts sRGB (..., 3) in [0, 1] to Lab (..., 3), L in [0, 100] (method: section 1; reference: scikit-image)."""
    xp = namespace(rgb)
    return _xyz_to_lab(_apply_matrix(_XYZ_FROM_RGB, srgb_to_linear(xp.asarray(rgb, dtype=xp.float32))))


def _xyz_to_lab(xyz: Array) -> Array:
    xp = namespace(xyz)
    f = _compress(xyz / xp.asarray(_WHITE_D65, dtype=xp.float32))
    fx, fy, fz = f[..., 0], f[..., 1], f[..., 2]
    return xp.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)


def light_to_lightness(y: Array) -> Array:
    """Converts luminance Y in [0, 1] to L in [0, 100]. Any shape."""
    return 116 * _compress(y) - 16


def _compress(light: Array) -> Array:
    """Applies the cube root of Lab, which is linear near black."""
    xp = namespace(light)
    curved = light > _CUBE_ROOT_FROM
    safe = xp.where(curved, light, 1.0)
    return xp.where(curved, xp.cbrt(safe), _LINEAR_SLOPE * light + _LINEAR_OFFSET)


def expand(f: Array) -> Array:
    """Inverts the cube root of Lab: f of any shape to light as a share of the white's."""
    return namespace(f).where(f > DARK, f**3, (f - _LINEAR_OFFSET) / _LINEAR_SLOPE)


def lab_to_rgb(lab: Array) -> Array:
    """Converts Lab (..., 3) to sRGB (..., 3), not clamped: colors out of gamut leave [0, 1] and keep a gradient.

    Clamp to [0, 1] before showing or storing a picture; clamped, it agrees with scikit-image everywhere.
    """
    return linear_to_srgb(lab_to_linear(lab))


def lab_to_linear(lab: Array) -> Array:
    """Converts Lab (..., 3) to linear RGB (..., 3), not clamped."""
    return _apply_matrix(_RGB_FROM_XYZ, _lab_to_xyz(lab, _WHITE_D65))


def lab_under_d65(lab: Array) -> Array:
    """Converts Lab (..., 3) under the white D50, which print and Adobe's programs mean, to Lab under D65."""
    return _xyz_to_lab(_apply_matrix(_D65_FROM_D50, _lab_to_xyz(lab, _WHITE_D50)))


def _lab_to_xyz(lab: Array, white: np.ndarray) -> Array:
    xp = namespace(lab)
    lab = xp.asarray(lab, dtype=xp.float32)
    fy = (lab[..., 0] + 16) / 116
    fx = fy + lab[..., 1] / 500
    fz = xp.maximum(fy - lab[..., 2] / 200, 0.0)
    f = xp.stack([fx, fy, fz], axis=-1)
    return expand(f) * xp.asarray(white, dtype=xp.float32)


def gamut_share(lab: "jax.Array", halvings: int = 12) -> "jax.Array":
    """Returns the largest share (...) in [0, 1] of the chroma of Lab (..., 3) that is inside the sRGB gamut.

    By bisection, to a precision of 2^-halvings. The lower end of the interval is always inside (0 is gray), so the
    result is, however the gamut is shaped. For programs of JAX; `colorize.lab_levels` does it to pictures of the host.
    """
    import jax
    import jax.numpy as jnp

    def halve(_, interval: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = interval
        middle = (low + high) / 2
        scaled = jnp.concatenate([lab[..., :1], lab[..., 1:] * middle[..., None]], axis=-1)
        is_inside = in_gamut(lab_to_linear(scaled))
        return jnp.where(is_inside, middle, low), jnp.where(is_inside, high, middle)

    full_share = jnp.ones(lab.shape[:-1], jnp.float32)
    low, _ = jax.lax.fori_loop(0, halvings, halve, (0 * full_share, full_share))
    return jnp.where(in_gamut(lab_to_linear(lab)), full_share, low)


def in_gamut(linear: "jax.Array") -> "jax.Array":
    """Tells which colors, linear RGB (..., 3), are inside the sRGB gamut (...), but for the errors of rounding."""
    return ((linear >= LEAST_LIGHT) & (linear <= MOST_LIGHT)).all(axis=-1)


def lightness_to_srgb(lightness: Array) -> Array:
    """Converts L in [0, 100] to the sRGB value in [0, 1] of that gray. Any shape."""
    xp = namespace(lightness)
    return linear_to_srgb(expand((xp.asarray(lightness, dtype=xp.float32) + 16) / 116))


def normalize_lab(lab: Array, ab_range: float = AB_RANGE) -> tuple[Array, Array]:
    """Scales Lab (..., 3) for the networks: l = (L - 50) / 100 (..., 1), and c = ab / ab_range (..., 2)."""
    return (lab[..., :1] - 50) / 100, lab[..., 1:] / ab_range


def denormalize_lab(l: Array, c: Array, ab_range: float = AB_RANGE) -> Array:
    """Inverts `normalize_lab`: l (..., 1) and c (..., 2) to Lab (..., 3)."""
    return namespace(l, c).concat([l * 100 + 50, c * ab_range], axis=-1)


def render(l: Array, c: Array, ab_range: float = AB_RANGE, leak: float = 0.0) -> Array:
    """Converts normalized l (..., 1) and c (..., 2) to RGB (..., 3) for D and the perceptual loss, [-1, 1] in gamut.

    Negative linear light, which the sRGB curve would make as low as -55, is multiplied by `leak`: 0 clamps it, 1 leaves
    it as it is. Nothing is clamped from above (method: section 11).
    """
    linear = lab_to_linear(denormalize_lab(l, c, ab_range))
    return linear_to_srgb(namespace(linear).where(linear > 0, linear, leak * linear)) * 2 - 1


def bytes_to_lab(rgb: Array) -> Array:
    """Converts 8-bit sRGB (..., 3), of any type, to Lab (..., 3)."""
    return rgb_to_lab(rgb.astype(np.float32) / 255)


def bytes_to_signed(rgb: Array) -> Array:
    """Converts 8-bit sRGB of any shape and type to float32 in [-1, 1], the range of D and of the networks of others."""
    return rgb.astype(np.float32) / 127.5 - 1  # type: ignore[return-value]


def colorfulness(rgb: Array, *, signed: bool = False) -> Array:
    """Computes the colorfulness (B,) of sRGB pictures (B, H, W, 3) in [0, 255] of any type (Hasler, Süsstrunk, 2003).

    The opponent channels are taken absolutely, as the field's tables do; `signed` takes them as the original does.
    """
    rgb = rgb * 1.0  # type: ignore[assignment]  # differences of bytes would wrap
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    rg, yb = red - green, (red + green) / 2 - blue
    if not signed:
        rg, yb = abs(rg), abs(yb)
    pixels = (1, 2)
    spread = (rg.var(axis=pixels) + yb.var(axis=pixels)) ** 0.5
    shift = (rg.mean(axis=pixels) ** 2 + yb.mean(axis=pixels) ** 2) ** 0.5
    return spread + 0.3 * shift  # type: ignore[return-value]


def rgb_to_bytes(rgb: Array) -> Array:
    """Converts sRGB of any shape to uint8; [0, 1] becomes 0 to 255, and colors out of gamut are clamped."""
    xp = namespace(rgb)
    return xp.round(xp.clip(rgb, 0, 1) * 255).astype(np.uint8)


def from_bytes(rgb: Array, ab_range: float = AB_RANGE) -> tuple[Array, Array]:
    """Converts 8-bit sRGB (..., 3), of any type, to normalized l (..., 1) and c (..., 2)."""
    return normalize_lab(bytes_to_lab(rgb), ab_range)


def to_bytes(l: Array, c: Array, ab_range: float = AB_RANGE) -> Array:
    """Converts normalized l (..., 1) and c (..., 2) to sRGB (..., 3), uint8; colors out of gamut are clamped."""
    return rgb_to_bytes(lab_to_rgb(denormalize_lab(l, c, ab_range)))
