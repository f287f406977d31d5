"""Colorizes photographs on a page of Gradio, as Hugging Face Spaces show them.

    pip install -e '.[gradio]'
    python examples/gradio_app.py

A Space needs this file as app.py, and examples/gradio_requirements.txt as requirements.txt. `palgan web` is the page
with regions, points and palettes to drag; it needs no Gradio.
"""

import gradio as gr
from PIL import Image

from palgan_jax import Colorizer, Palette
from palgan_jax.errors import UserError

colorizer = Colorizer.load()


def colorize(
    photograph: str, reference: str | None, strength: float, words: str, saturation: float
) -> tuple[tuple[Image.Image, Image.Image], Image.Image]:
    """Returns the photograph in gray and in color, at full size, and its palette as a picture."""
    try:
        palette = colorizer.predict_palette_of(photograph)
        if reference:
            palette = palette.mix(Palette.of(reference), strength)
        result = colorizer(photograph, palette=palette, edit=words or None, saturation=saturation)
    except UserError as error:
        raise gr.Error(str(error)) from error
    return (result.image.convert("L"), result.image), result.palette.draw()


page = gr.Interface(
    colorize,
    [
        gr.Image(label="Photograph", type="filepath"),
        gr.Image(label="Another picture with colors to borrow", type="filepath"),
        gr.Slider(0, 1, 0.7, label="How much of its colors"),
        gr.Textbox(label="Edits", placeholder="shift temperature=10; remove #5a7a3a"),
        gr.Slider(0, 2, 1, label="Saturation"),
    ],
    [gr.ImageSlider(label="Gray and color", format="png"), gr.Image(label="Palette")],
    title="PalGAN: colors by palettes",
    flagging_mode="never",
)

if __name__ == "__main__":
    page.launch(max_file_size="40mb")
