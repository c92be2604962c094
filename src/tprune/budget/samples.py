"""On how many sentences evidence is gathered."""

CALIBRATION = 256  # validation sentences on which losses are measured
ALONE = 64  # of them for each coupling alone, where whole selections are measured after
FITTED = 512  # training sentences that matrices are fitted to
