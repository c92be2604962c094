"""Devices that exported models are timed on: how they are reached, what runs there, and what it says of them."""
