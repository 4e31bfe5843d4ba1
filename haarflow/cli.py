"""The command line: `haarflow VERB ...`, a thin face over the library.

Errors are one sentence on standard error with exit code 1. Results go to standard output, progress to standard error.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from haarflow.commands import bench, convert, info, run, verify

HELP = (
    "Machine-learned samplers for lattice field theory whose answers are exact.\n\n"
    "Start with [bold]haarflow recipes[/bold] (what there is to run), then [bold]haarflow run u1-tiny[/bold] (seconds) "
    "or [bold]haarflow run u1-2d[/bold] (minutes): it trains a flow, draws with it, runs HMC and heat bath beside it, "
    "compares all with the exact result and writes report.html. [bold]haarflow new u1-2d > mine.toml[/bold] gives a "
    "commented recipe to change. A run that was killed goes on when the same command is given again. "
    "[bold]haarflow verify[/bold] holds the library, or an action, kernel or flow of your own, against its laws."
)

app = typer.Typer(
    name="haarflow",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=HELP,
)


def main(words: list[str] | None = None) -> int:
    """Run the command line, on `words` or the process's own; return the exit code."""
    _use_x64()
    try:
        return app(words, prog_name="haarflow", standalone_mode=False) or 0
    except typer.Exit as stop:
        return stop.exit_code
    except KeyboardInterrupt:
        return _complain("interrupted; what was committed is kept, the same command goes on from there", 130)
    except Exception as error:
        return _failure(error)


def _use_x64() -> None:
    """Float64 is the default of this process, an application, and of the workers it starts."""
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    if sys.modules.get("jax") is not None:
        sys.modules["jax"].config.update("jax_enable_x64", True)


def _failure(error: Exception) -> int:
    """One sentence for what a person can mend; anything else is our fault and shows where."""
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # a usage error of click, which typer may vendor
        error.show()
        return error.exit_code
    if type(error).__name__ == "Abort":
        return _complain("interrupted; what was committed is kept, the same command goes on from there", 130)
    if isinstance(error, OSError) and error.errno is not None:
        return _complain(_system_sentence(error), 1)
    if isinstance(error, (ValueError, TypeError, ArithmeticError, ImportError, NotImplementedError, OSError)):
        if os.environ.get("HAARFLOW_TRACEBACK"):
            raise error
        return _complain(str(error), 1)
    raise error


def _system_sentence(error: OSError) -> str:
    import errno

    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"the disk is full{where}: nothing was written over and what was committed is kept; free some space and give "
            "the same command again"
        )
    return f"{error.strerror}{where}"


def _complain(sentence: str, code: int) -> int:
    print(f"haarflow: {sentence}", file=sys.stderr)
    return code


def _version(wanted: bool) -> None:
    if wanted:
        from haarflow import __version__

        print(f"haarflow {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """The options before the verb."""


for verb in (
    run.run,
    run.train,
    run.sample,
    info.measure,
    info.info,
    convert.convert,
    info.new,
    info.backends,
    info.recipes,
    info.exact,
    verify.verify,
    bench.bench,
):
    app.command()(verb)
