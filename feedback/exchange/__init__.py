"""Preference data in and out of the ledger, in the formats that others read and write."""

from feedback.exchange.exporting import export
from feedback.exchange.formats import FORMATS
from feedback.exchange.importing import Summary, take

__all__ = ["FORMATS", "Summary", "export", "take"]
