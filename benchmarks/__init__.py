"""Measured claims: a folder for each question, and in `shared` what several of them use."""
