"""What runs the network: JAX, or ONNX Runtime, which compiles nothing and needs no JAX."""

from importlib.util import find_spec
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.errors import UserError, lacking
from palgan_jax.palette.regions import Regions
from palgan_jax.util.platforms import may_have_accelerator

Engine = Literal["jax", "onnx"]
NAMES: dict[Engine, str] = {"jax": "JAX", "onnx": "ONNX Runtime"}
_MODULES: dict[Engine, tuple[str, ...]] = {"jax": ("jax", "flax"), "onnx": ("onnx", "onnxruntime")}


class Network(Protocol):
    """A trained network, run by one of the engines. Pictures are L (B, R, R) in [0, 100], ab (B, R, R, 2) Lab units.

    Attributes:
      takes_turns: whether one picture at a time is best, since each is worked on by all cores.
    """

    takes_turns: bool

    def predict(self, lightness: np.ndarray, palette: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Predicts colors with palettes (B, K), or None for the predicted ones: the palettes used, and ab."""
        ...

    def predict_palettes(self, lightness: np.ndarray) -> np.ndarray:
        """Predicts palettes (B, K), and paints nothing."""
        ...

    def paint(self, lightness: np.ndarray, h: np.ndarray | Regions) -> np.ndarray:
        """Paints with palettes (B, K) or those of regions, at any R that is a multiple of 64: ab."""
        ...


@runtime_checkable
class FlaxNetwork(Network, Protocol):
    """A network of JAX's.

    Attributes:
      network, variables: the Flax module and its arrays, for programs of one's own.
    """

    network: Any
    variables: Any


def choose_engine(engine_name: str, weights: Weights) -> Engine:
    """Returns the engine for trained weights: the wanted one, or for "auto" the one that is sooner done.

    "auto" takes ONNX Runtime where it is installed and the model paints with a palette, unless JAX has an accelerator.
    Raises UserError where what is needed is not installed.
    """
    if engine_name not in ("auto", *_MODULES):
        raise UserError(f"{engine_name} is no engine: choose one of auto, {', '.join(_MODULES)}.")
    installed: list[Engine] = [engine for engine, modules in _MODULES.items() if all(map(find_spec, modules))]
    choice: Engine = _automatic(installed, weights)
    for engine in get_args(Engine):
        if engine_name == engine:
            choice = engine
    if choice not in installed:
        missing = next(name for name in _MODULES[choice] if not find_spec(name))
        raise lacking(f"{NAMES[choice]} does not run here", ModuleNotFoundError(f"no {missing}", name=missing))
    return choice


def _automatic(installed: list[Engine], weights: Weights) -> Engine:
    if "onnx" not in installed or weights.config.get("model", "palgan") != "palgan":
        return "jax"
    return "jax" if "jax" in installed and _has_accelerator() else "onnx"


def _has_accelerator() -> bool:
    """Returns whether JAX has one. It is imported only where that may be, since it takes a while."""
    if not may_have_accelerator():
        return False
    import jax

    return jax.default_backend() != "cpu"


def open_network(engine: Engine, weights: Weights, config: Any) -> Network:
    """Returns the network of trained weights. Raises UserError where the weights are not those of the config."""
    if engine == "onnx":
        from palgan_jax.colorize.onnx_network import OnnxNetwork

        return OnnxNetwork(weights, config)
    from palgan_jax.colorize.jax_network import JaxNetwork

    return JaxNetwork(weights, config)
