"""Preference data in and out of the ledger, in the formats that others read and write."""
