"""Hand-written native twins of what the library does, for timings beside it."""
