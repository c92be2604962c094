"""CTranslate2: whole translation models, with a graph and a search of its own."""
