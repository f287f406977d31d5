"""Palettes: which colors a picture has, as arrays and as something that people hold and edit."""
