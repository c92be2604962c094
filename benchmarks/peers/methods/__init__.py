"""The methods, by the name they have in tables and on the command line. One file each."""

from peers.job import Method
from peers.methods.dense import dense_more
from peers.methods.magnitude import magnitude

METHODS: dict[str, Method] = {
    "dense-more": Method(dense_more, timed=False),
    "magnitude": Method(magnitude),
}
