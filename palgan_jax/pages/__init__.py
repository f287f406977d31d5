"""Contact sheets: gray | ours | truth with the predicted palette beside each, as one PNG and as a web page."""

from palgan_jax.pages.contact_sheet_html import page
from palgan_jax.pages.contact_sheet_png import draw_sheet
from palgan_jax.pages.rows import Curve, Row, read_credits
from palgan_jax.pages.write import write_sheet

__all__ = ["Curve", "Row", "draw_sheet", "page", "read_credits", "write_sheet"]
