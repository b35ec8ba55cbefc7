"""Recorded graph → fast function."""
