"""The verbs, one file each. They check what a command line says by itself, and import what is heavy only then."""
