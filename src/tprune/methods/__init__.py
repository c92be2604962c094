"""Methods: what drives groups to zero. One file each; `regulariser` runs them in any training loop."""
