"""Sentences and their files: parallel text, tables, data sets of the hub."""
