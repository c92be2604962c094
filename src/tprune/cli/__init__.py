"""The command line, one room for all verbs."""
