"""What every room stands on: errors, files, the machine, progress, plugins. Nothing here knows of models."""
