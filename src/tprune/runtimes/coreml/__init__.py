"""Core ML: files for Apple's systems, which are written here and run there."""
