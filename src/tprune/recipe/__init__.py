"""What a recipe holds, and how one is read."""
