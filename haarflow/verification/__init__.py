"""The laws held against objects: `haarflow verify` and `haarflow.verify`."""
