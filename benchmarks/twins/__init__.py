"""Hand-written native versions of what the library does, to compare timings."""
