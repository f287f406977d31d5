"""Metrics against scikit-image, published values, PyTorch's packages, and themselves on several devices.

Golden files: porting/make_golden_metrics.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import deltaE_ciede2000
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from palgan_jax.color import bytes_to_lab, colorfulness, lab_to_rgb, rgb_to_bytes
from palgan_jax.errors import UserError
from palgan_jax.metrics import frechet
from palgan_jax.metrics.bleeding import color_bleeding
from palgan_jax.metrics.ciede2000 import ciede2000, color_difference
from palgan_jax.metrics.colorfulness import delta_colorfulness
from palgan_jax.metrics.confidence import interval, paired_interval, resampled_means
from palgan_jax.metrics.luminance import luminance_error
from palgan_jax.metrics.psnr import psnr
from palgan_jax.metrics.size_consistency import size_consistency
from palgan_jax.metrics.ssim import ssim
from tests.support.golden_recipe import spread, uniform
from tests.support.metric_recipe import picture
from tests.support.places import GOLDEN


@pytest.fixture(scope="module")
def pairs():
    """Eight pairs (8, 80, 120, 3), uint8: noise of growing strength, the first pair equal, the last unrelated."""
    truth = np.stack([picture(f"pair {i}", 80, 120) for i in range(8)])
    noise = spread("pair noise", truth.shape, 1.0) * np.arange(8).reshape(8, 1, 1, 1) ** 2
    predicted = np.clip(np.round(truth + noise), 0, 255).astype(np.uint8)
    predicted[7] = picture("another", 80, 120)
    return predicted, truth


# ----------------------------------------------------------------------------------------------------------------- SSIM


@pytest.mark.usefixtures("each_platform")
def test_ssim_is_that_of_scikit_image(pairs):
    expected = [
        structural_similarity(
            p, t, channel_axis=-1, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for p, t in zip(*pairs, strict=True)
    ]
    np.testing.assert_allclose(jax.jit(lambda *pair: ssim(*pair))(*pairs), expected, atol=1e-5)
    assert expected[0] == 1 and expected[-1] < 0.5


@pytest.mark.usefixtures("each_platform")
def test_ssim_of_flat_bright_pictures_keeps_its_accuracy():
    # Variances of 1 beside squares of 62,500, where float32 has steps of 0.004.
    truth = 250 + np.round(spread("flat", (1, 40, 40, 3))).clip(-2, 2)
    predicted = 250 + np.round(spread("flat too", (1, 40, 40, 3))).clip(-2, 2)
    expected = structural_similarity(
        predicted[0], truth[0], channel_axis=-1, data_range=255, gaussian_weights=True, use_sample_covariance=False
    )
    np.testing.assert_allclose(ssim(predicted, truth), [expected], atol=1e-5)


def test_ssim_of_tiny_pictures_is_refused():
    with pytest.raises(ValueError, match="at least 11 x 11, got 10 x 40"):
        ssim(np.zeros((1, 10, 40, 3)), np.zeros((1, 10, 40, 3)))


# ------------------------------------------------------------------------------------------------------------ CIEDE2000

# Table 1 of Sharma, Wu and Dalal (2005): L, a and b of both colors, and the difference.
SHARMA = """
50.0000 2.6772 -79.7751 50.0000 0.0000 -82.7485 2.0425
50.0000 3.1571 -77.2803 50.0000 0.0000 -82.7485 2.8615
50.0000 2.8361 -74.0200 50.0000 0.0000 -82.7485 3.4412
50.0000 -1.3802 -84.2814 50.0000 0.0000 -82.7485 1.0000
50.0000 -1.1848 -84.8006 50.0000 0.0000 -82.7485 1.0000
50.0000 -0.9009 -85.5211 50.0000 0.0000 -82.7485 1.0000
50.0000 0.0000 0.0000 50.0000 -1.0000 2.0000 2.3669
50.0000 -1.0000 2.0000 50.0000 0.0000 0.0000 2.3669
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0009 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0010 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0011 7.2195
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0012 7.2195
50.0000 -0.0010 2.4900 50.0000 0.0009 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0010 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0011 -2.4900 4.7461
50.0000 2.5000 0.0000 50.0000 0.0000 -2.5000 4.3065
50.0000 2.5000 0.0000 73.0000 25.0000 -18.0000 27.1492
50.0000 2.5000 0.0000 61.0000 -5.0000 29.0000 22.8977
50.0000 2.5000 0.0000 56.0000 -27.0000 -3.0000 31.9030
50.0000 2.5000 0.0000 58.0000 24.0000 15.0000 19.4535
50.0000 2.5000 0.0000 50.0000 3.1736 0.5854 1.0000
50.0000 2.5000 0.0000 50.0000 3.2972 0.0000 1.0000
50.0000 2.5000 0.0000 50.0000 1.8634 0.5757 1.0000
50.0000 2.5000 0.0000 50.0000 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


def test_ciede2000_of_the_published_pairs():
    table = np.array([line.split() for line in SHARMA.strip().splitlines()], np.float32)
    assert table.shape == (34, 7)
    first, second, expected = table[:, :3], table[:, 3:6], table[:, 6]
    np.testing.assert_allclose(jax.jit(ciede2000)(first, second), expected, atol=1e-4)
    np.testing.assert_allclose(jax.jit(ciede2000)(second, first), expected, atol=1e-4)


def test_ciede2000_is_that_of_scikit_image():
    scale, shift = np.array([100, 200, 200], np.float32), np.array([0, -100, -100], np.float32)
    first = uniform("lab", (5000, 3)) * scale + shift
    second = np.where(np.arange(5000)[:, None] < 2000, uniform("lab 2", (5000, 3)) * scale + shift, first + 2)
    first[:50, 1:] = 0  # gray
    second[:20] = first[:20]
    difference = jax.jit(ciede2000)
    np.testing.assert_allclose(difference(first, second), deltaE_ciede2000(first, second), atol=1e-4, rtol=2e-6)
    assert not np.asarray(difference(first, second))[:20].any()


def test_color_difference_is_the_mean_over_pixels():
    red, green = np.array([255, 0, 0], np.uint8), np.array([0, 255, 0], np.uint8)
    truth = np.broadcast_to(red, (2, 4, 4, 3)).copy()
    predicted = truth.copy()
    predicted[1, :2] = green
    # 86.6082 is CIEDE2000 of sRGB red and green under D65.
    np.testing.assert_allclose(color_difference(predicted, truth), [0, 86.6082 / 2], atol=0.01)


# ----------------------------------------------------------------------------------------------------- smaller measures


def test_bytes_do_not_wrap(pairs):
    predicted, truth = pairs
    floats = predicted.astype(np.float32), truth.astype(np.float32)
    expected = [peak_signal_noise_ratio(t, p, data_range=255) for p, t in zip(*floats, strict=True) if (p != t).any()]
    np.testing.assert_allclose(psnr(predicted, truth)[1:], expected, rtol=1e-5)
    assert psnr(predicted, truth)[0] == 100
    np.testing.assert_allclose(colorfulness(jnp.asarray(truth)), colorfulness(floats[1]), rtol=1e-5)
    np.testing.assert_allclose(colorfulness(truth), colorfulness(floats[1]), rtol=1e-5)


def test_colorfulness_of_means_and_in_both_forms(pairs):
    rgb = pairs[1].astype(np.float32)
    # Hasler and Süsstrunk, straight from the formula.
    for signed in (True, False):
        rg, yb = rgb[..., 0] - rgb[..., 1], (rgb[..., 0] + rgb[..., 1]) / 2 - rgb[..., 2]
        rg, yb = (rg, yb) if signed else (np.abs(rg), np.abs(yb))
        expected = [
            np.hypot(r.std(), y.std()) + 0.3 * np.hypot(r.mean(), y.mean()) for r, y in zip(rg, yb, strict=True)
        ]
        np.testing.assert_allclose(colorfulness(jnp.asarray(rgb), signed=signed), expected, rtol=1e-5)
    assert delta_colorfulness(np.array([10.0, 30.0]), np.array([30.0, 16.0])) == 3


def test_luminance_error_is_the_largest_and_color_is_none():
    gray = np.full((2, 8, 8, 3), 119, np.uint8)  # L = 50.0
    noisy = gray.copy()
    noisy[1, 3, 5] = 0
    np.testing.assert_allclose(luminance_error(noisy, gray), [0, 50.03], atol=0.01)


def test_size_consistency_sees_color_and_not_detail():
    small = uniform("small", (2, 8, 8, 2), -50, 50)
    enlarged = small.repeat(4, axis=1).repeat(4, axis=2)
    detail = np.tile([[1, -1], [-1, 1]], (16, 16))[None, :, :, None] * 20
    np.testing.assert_allclose(size_consistency([small, enlarged + detail]), 0, atol=1e-4)
    # Of three sizes one is off by (3, 4): two of the three pairs are 5 apart.
    middle = small.repeat(2, axis=1).repeat(2, axis=2) + np.array([3, 4], np.float32)
    np.testing.assert_allclose(size_consistency([small, middle, enlarged]), 10 / 3, rtol=1e-5)
    for sizes in ([small], [small, small[:, :5, :5]]):
        with pytest.raises(ValueError, match="two sizes or more, each a multiple of the smallest"):
            size_consistency(sizes)


bleeding, to_lab, to_bytes = (
    jax.jit(color_bleeding),
    jax.jit(bytes_to_lab),
    jax.jit(lambda x: rgb_to_bytes(lab_to_rgb(x))),
)


def photographs(samples, count=6):
    files = sorted(samples.glob("*.jpg"))[:count]
    return np.stack([np.asarray(Image.open(file).convert("RGB").resize((256, 256))) for file in files])


def with_colors(rgb, change):
    """Pictures whose ab was changed, their L as it was."""
    lab = np.asarray(to_lab(rgb))
    return np.asarray(to_bytes(np.concatenate([lab[..., :1], change(lab[..., 1:])], axis=-1)))


def test_bleeding_of_photographs_grows_with_the_smear(samples):
    truth = photographs(samples)
    blurred = [with_colors(truth, lambda ab, s=s: gaussian_filter(ab, (0, s, s, 0))) for s in (1, 2, 4)]
    of_truth, *values = [np.asarray(bleeding(p, truth)) for p in (truth, *blurred)]
    assert (np.diff([of_truth, *values], axis=0) > 0.05).all()
    assert (of_truth > -0.05).all() and (of_truth < 0.3).all() and (values[-1] < 1.05).all()
    # Colors half as strong are not smeared, nor are other ones.
    for change in (lambda ab: 0.5 * ab, lambda ab: 0.5 * ab[..., ::-1]):
        np.testing.assert_allclose(bleeding(with_colors(truth, change), truth), of_truth, atol=0.1)


def test_bleeding_of_a_step_that_is_known():
    truth = np.full((1, 40, 80, 3), (60, 60, 60), np.uint8)
    truth[:, :, 40:] = (220, 160, 150)
    l = np.asarray(to_lab(truth))[..., :1]
    x = np.arange(80) - 39.5

    def painted(width):  # a color that sets in evenly over so many pixels
        ramp = np.clip(x / width + 0.5, 0, 1)[None, None, :, None] * np.array([24.0, 12.0])
        ramp = np.broadcast_to(ramp, (1, 40, 80, 2))
        return np.asarray(to_bytes(np.concatenate([l, ramp], axis=-1)))

    # Of a color that sets in over 20 pixels, 2 / 20 lie within the narrow step and 12 / 20 within the wide one.
    values = [float(bleeding(painted(width), truth)[0]) for width in (1, 20)]
    np.testing.assert_allclose(values, [0, 1], atol=0.06)
    np.testing.assert_allclose(
        bleeding(painted(20).transpose(0, 2, 1, 3), truth.transpose(0, 2, 1, 3)), values[1:], atol=1e-5
    )
    gray = np.full_like(truth, 128)
    assert bleeding(gray, truth)[0] == 0 and bleeding(truth, gray)[0] == 0


def test_values_do_not_depend_on_the_number_of_devices(pairs):
    def measure(predicted, truth):
        p, t = predicted.astype(jnp.float32), truth.astype(jnp.float32)
        return psnr(p, t), ssim(p, t), color_difference(p, t), luminance_error(p, t), colorfulness(p)

    mesh = Mesh(np.array(jax.devices()), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    assert mesh.size == 8
    spread_out = jax.jit(measure)(*(jax.device_put(x, sharding) for x in pairs))
    for single, several in zip(jax.jit(measure)(*pairs), spread_out, strict=True):
        assert len(several.addressable_shards) == 8
        np.testing.assert_allclose(several, single, rtol=1e-6)


# ----------------------------------------------------------------------------------------------------- Fréchet distance


def moments(features):
    return frechet.update(frechet.empty(features.shape[1]), features)


@pytest.fixture(scope="module")
def feature_samples():
    return [spread(f"frechet {i}", (150, 64), 1 + i) + np.float32(i) for i in range(2)]


def test_frechet_distance_is_that_of_pytorch_fid(feature_samples):
    with np.load(GOLDEN / "metrics_frechet.npz") as golden:
        expected = float(golden["fid"])
    assert frechet.frechet_distance(*map(moments, feature_samples)) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_fewer_vectors_than_features():
    # Two vectors each: covariances u u^T and v v^T, whose product has the root's trace |u . v|.
    a, b = uniform("a", (2, 300)).astype(np.float64), uniform("b", (2, 300)).astype(np.float64)
    u, v = (a[0] - a[1]) / 2**0.5, (b[0] - b[1]) / 2**0.5
    step = a.mean(0) - b.mean(0)
    expected = step @ step + u @ u + v @ v - 2 * abs(u @ v)
    assert frechet.frechet_distance(moments(a), moments(b)) == pytest.approx(expected, rel=1e-6)
    assert frechet.frechet_distance(moments(a), moments(a)) == pytest.approx(0, abs=1e-6)


def test_moments_are_numpys_however_they_are_gathered(feature_samples):
    # Far from 0, where sums of squares would lose what the covariance is made of.
    features = np.concatenate(feature_samples) + 1e6
    expected = moments(features)
    np.testing.assert_allclose(expected.mean, features.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(
        expected.covariance, np.cov(features.astype(np.float64), rowvar=False), rtol=1e-9, atol=1e-9
    )
    parts = [frechet.empty(64) for _ in range(8)]
    for start in range(0, 300, 7):
        parts[start % 8] = frechet.update(parts[start % 8], features[start : start + 7])
    parts[0] = frechet.update(parts[0], features[:0])
    total = frechet.empty(64)
    for part in parts:
        total = frechet.merge(total, part)
    assert total.count == 300
    np.testing.assert_allclose(total.covariance, expected.covariance, rtol=1e-8, atol=1e-8)


def test_one_picture_has_no_covariance(feature_samples):
    with pytest.raises(UserError, match="at least two pictures in each set, and one has 1"):
        frechet.frechet_distance(moments(feature_samples[0][:1]), moments(feature_samples[1]))


# ----------------------------------------------------------------------------------------------------------- confidence


def test_intervals_are_those_of_scipy():
    values = uniform("values", (200,)) ** 3
    low, high = interval(values, resamples=20000)
    reference = scipy.stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=1)
    error = values.std() / 200**0.5
    np.testing.assert_allclose([low, high], reference.confidence_interval, atol=0.06 * error)
    np.testing.assert_allclose([low, high], values.mean() + np.array([-1.96, 1.96]) * error, atol=0.15 * error)


def test_means_are_seeded_and_columns_share_the_drawings(monkeypatch):
    values = uniform("columns", (50, 3))
    means = resampled_means(values, resamples=1000, seed=3)
    assert means.shape == (1000, 3)
    np.testing.assert_array_equal(means, resampled_means(values, resamples=1000, seed=3))
    assert (means != resampled_means(values, resamples=1000, seed=4)).any()
    np.testing.assert_allclose(resampled_means(values.sum(1), resamples=1000, seed=3), means.sum(1), rtol=1e-6)
    # In pieces, as a large set is drawn.
    monkeypatch.setattr("palgan_jax.metrics.confidence._AT_ONCE", 150 * 7)
    np.testing.assert_array_equal(means, resampled_means(values, resamples=1000, seed=3))
    with pytest.raises(ValueError, match="no values"):
        resampled_means(np.zeros(0))


def test_a_paired_difference_is_narrower_than_two_intervals():
    values = uniform("hardness", (300,), 0, 10)
    first, second = values + uniform("first", (300,)) + 0.2, values + uniform("second", (300,))
    low, high = paired_interval(first, second)
    assert 0 < low < 0.2 < high < 0.4
    a, b = interval(first), interval(second)
    assert a[0] < b[1] and high - low < 0.3 * (a[1] - a[0])
    with pytest.raises(ValueError, match="the same pictures"):
        paired_interval(first, second[:10])
