"""How fast exported models are, side by side."""
