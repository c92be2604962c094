"""tprune."""
