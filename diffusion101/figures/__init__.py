"""Figures, sliders over them, and picture files."""
