"""Labels that count in no loss."""

IGNORED = -100  # as transformers has it: padding of labels
