"""What no pipeline reaches."""
