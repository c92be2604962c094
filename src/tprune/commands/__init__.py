"""What the command line's verbs do, apart from reading their options."""
