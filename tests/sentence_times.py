"""Times of translation models."""

from tprune.costs.latency.phases import Times


def sentence_times(encoder: float, token: float, sentence: float) -> Times:
    return Times({"encoder": encoder, "token": token}, sentence)
