"""Theories composed of others: gauge fields with fermions."""
