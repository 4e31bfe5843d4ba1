"""`python -m haarflow` and the `haarflow` command."""

import sys

from haarflow import __version__


def main() -> int:
    """Run the command line, or say what to install if its packages are missing."""
    if sys.argv[1:] == ["--version"]:
        print(f"haarflow {__version__}")
        return 0
    try:
        import pydantic  # noqa: F401
        import typer  # noqa: F401
    except ImportError as missing:
        print(
            f"haarflow: the command line needs the package {missing.name!r}: pip install 'haarflow[cli]'",
            file=sys.stderr,
        )
        return 1
    from haarflow.cli import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
