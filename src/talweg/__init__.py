"""Talweg: trains small GPTs, and tells why the loss has stopped falling, in nats, with intervals."""

__version__ = "0.1.0"
