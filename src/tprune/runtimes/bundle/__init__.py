"""Bundles: exported models as apps ship them, with golden outputs that are replayed on the device."""
