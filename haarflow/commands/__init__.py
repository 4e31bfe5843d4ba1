"""The commands of the command line, one function each; `haarflow.cli` lists them."""
