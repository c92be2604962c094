"""What a run does for models that write sentences alone.

This is a model to start from, vocabularies, long sentences, and pseudo-targets.
"""

TRAINED = "translation"  # the task of the models that a recipe can train
