"""Validation while training: the metrics that a config asks for beside the usual ones."""

import jax
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab
from skimage.metrics import structural_similarity

from palgan_jax.color import from_bytes
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.config import from_dict
from palgan_jax.data.eval_batches import eval_batches
from palgan_jax.data.sampling import Averages
from palgan_jax.data.source import open_source
from palgan_jax.distributed.mesh import make_mesh
from palgan_jax.errors import UserError
from palgan_jax.metrics import frechet
from palgan_jax.palette.histogram import histogram
from palgan_jax.pretrained.inception import inception_features
from palgan_jax.pretrained.load import load_metric_weights
from palgan_jax.pretrained.store import import_weights
from palgan_jax.training import validation as validation_lib
from palgan_jax.training.validation import Validation, load_metric_networks
from tests.support.colorize_model import tiny_weights
from tests.support.inception import torch_shapes
from tests.support.metric_recipe import inception_state

SIDE, COUNT, BATCH = 64, 3, 2


# scikit-image warns of colors that no light has; the random network paints them.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")


@pytest.fixture(scope="module")
def squares(samples, tmp_path_factory):
    """A source of real photographs at the network's size, and the same as arrays."""
    folder = tmp_path_factory.mktemp("squares")
    for path in sorted(samples.glob("*.jpg"))[:COUNT]:
        with Image.open(path) as picture:
            picture.convert("RGB").resize((SIDE, SIDE)).save(folder / f"{path.stem}.png")
    source = open_source(f"folder:{folder}", near_gray=0)
    return source, [source.read(i) for i in range(COUNT)]


def constants() -> Averages:
    rng = np.random.default_rng(3)
    first, second = (rng.gamma(0.2, size=256).astype(np.float32) for _ in range(2))
    return Averages(np.array([5.0, 9.0], np.float32), first / first.sum(), second / second.sum())


def validation(squares, metrics: str) -> Validation:
    colorizer = Colorizer(tiny_weights())
    config = from_dict({**tiny_weights().config, "eval_metrics": metrics})
    batches = eval_batches(squares[0], resolution=SIDE, batch_size=BATCH)
    mesh = make_mesh(devices=jax.devices()[:1])
    return Validation(config, colorizer.network, mesh, constants(), batches, load_metric_networks(config))


@pytest.fixture(scope="module")
def measured(squares, tmp_path_factory) -> tuple[dict[str, float], list[frechet.Moments], dict]:
    """The means of a validation with metrics beside the usual ones, the moments for FID, and Inception's weights."""
    folder, compared = tmp_path_factory.mktemp("weights"), []
    safetensors.numpy.save_file(inception_state(torch_shapes()), folder / "inception.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALGAN_CACHE", str(folder / "cache"))
        import_weights(str(folder / "inception.safetensors"))
        # The distance itself takes seconds, and is tested beside its definition.
        patch.setattr(validation_lib, "frechet_distance", lambda *moments: compared.extend(moments) or 1.5)
        measure = validation(squares, "fid, ssim,ciede2000")
        means = measure.run(Colorizer(tiny_weights()).variables)
        assert set(means) == set(measure.names), "what is known before the first step"
        return means, compared, load_metric_weights("inception")


def clamped(colorizer: Colorizer, rgb: np.ndarray) -> np.ndarray:
    """The automatic colors as validation renders them: what is out of gamut is clamped."""
    lightness = rgb2lab(rgb)[..., 0].astype(np.float32)
    _, ab = colorizer.predict(lightness)
    return np.round(np.clip(lab2rgb(np.concatenate([lightness[..., None], ab], -1)), 0, 1) * 255).astype(np.uint8)


def test_metrics_that_are_asked_for_are_means_over_the_automatic_colors(squares, measured):
    colorizer, (means, compared, inception) = Colorizer(tiny_weights()), measured
    assert means["val/fid_other_weights"] == 1.5

    painted = [clamped(colorizer, rgb) for rgb in squares[1]]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": -1}
    pairs = list(zip(squares[1], painted, strict=True))
    ssim = [structural_similarity(rgb, other, **options) for rgb, other in pairs]
    assert means["val/ssim"] == pytest.approx(np.mean(ssim), abs=2e-3)
    ciede = [deltaE_ciede2000(rgb2lab(rgb), rgb2lab(other)).mean() for rgb, other in pairs]
    assert means["val/ciede2000"] == pytest.approx(np.mean(ciede), rel=2e-3)

    features = jax.jit(inception_features)
    for pictures, moments in zip((painted, squares[1]), compared, strict=True):
        mean = np.asarray(features(inception, np.stack(pictures).astype(np.float32) / 127.5 - 1)).mean(axis=0)
        assert moments.count == COUNT
        np.testing.assert_allclose(moments.mean, mean, atol=0.02 * np.abs(mean).max())
    assert not {name for name in means if "lpips" in name or "features" in name or "mask" in name}


def test_rivals_paint_all_pictures_with_one_palette_or_one_color(squares, measured):
    colorizer, values, (results, *_) = Colorizer(tiny_weights()), constants(), measured
    l, truth = (np.asarray(x) for x in from_bytes(np.stack(squares[1])))
    of_truth = np.asarray(histogram(truth))
    for suffix, h in (("mean_palette", values.mean_palette), ("median_palette", values.median_palette)):
        _, c = jax.jit(colorizer.network.apply)(colorizer.variables, l, np.tile(h, (COUNT, 1)))
        error = np.linalg.norm(110 * (np.asarray(c) - truth), axis=-1).mean()
        assert results[f"val/ab_error_{suffix}"] == pytest.approx(error, rel=1e-3)
        distance = np.sqrt(1 - np.sqrt(of_truth * h).sum(-1)).mean()
        assert results[f"val/predicted_palette_distance_{suffix}"] == pytest.approx(distance, abs=1e-3)
    error = np.linalg.norm(values.ab - 110 * truth, axis=-1).mean()
    assert results["val/ab_error_mean_ab"] == pytest.approx(error, rel=1e-3)


def test_a_metric_that_is_not_known_or_not_there_is_named_before_training(squares, tmp_path, monkeypatch):
    monkeypatch.setenv("PALGAN_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"--config\.eval_metrics names beauty, which is not known: name some of ssim"):
        validation(squares, "ssim,beauty")
    with pytest.raises(UserError, match=r"asks for fid, and there are no weights of the InceptionV3 of FID"):
        validation(squares, "fid")
