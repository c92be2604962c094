"""The generated English-German corpus."""
