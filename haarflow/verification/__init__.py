"""Checking objects against their laws: `haarflow verify` and `haarflow.verify`."""
