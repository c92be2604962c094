"""Options: groups that several verbs share, and the options that stand alone."""
