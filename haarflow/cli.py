"""The command line, `haarflow COMMAND ...`: a thin layer over the library.

An error is a sentence on standard error, with exit code 1. Results go to standard output, progress to standard error.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from haarflow.commands import bench, convert, info, publish, run, verify
from haarflow.run.faults import fault, in_users_code, raised_on_purpose
from haarflow.run.stops import CODE, Stopped

HELP = (
    "Machine-learned samplers for lattice field theory whose answers are exact.\n\n"
    "[bold]haarflow recipes[/bold] lists the built-in runs. [bold]haarflow run u1-tiny[/bold] takes half a minute, "
    "[bold]haarflow run u1-2d[/bold] some minutes: it trains a flow, samples with it, with HMC and with the heat bath, compares "
    "them all with the exact result and writes report.html. [bold]haarflow new u1-2d > mine.toml[/bold] writes a commented "
    "recipe for you to change. To resume a run that was interrupted, repeat its command. [bold]haarflow verify[/bold] "
    "checks the library, or your own action, kernel or flow, against the laws it must obey."
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
    """Run the command line on `words`, by default the process's arguments, and return the exit code."""
    _use_x64()
    try:
        return app(words, prog_name="haarflow", standalone_mode=False) or 0
    except typer.Exit as stop:
        return stop.exit_code
    except KeyboardInterrupt:
        return _complain("interrupted: finished blocks are kept, and the same command resumes the run", 130)
    except Exception as error:
        return _failure(error)


def _use_x64() -> None:
    """Make float64 available on JAX in this process, which is an application, and in the workers it starts."""
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    if sys.modules.get("jax") is not None:
        sys.modules["jax"].config.update("jax_enable_x64", True)


def _failure(error: Exception) -> int:
    """A sentence for what a person can mend; anything else is a bug of this library and shows its traceback."""
    show = getattr(error, "show", None)  # a usage error of click; typer may vendor click, so its class is not known
    if show is not None:
        show()
        return int(getattr(error, "exit_code", 2))
    if type(error).__name__ == "Abort":
        return _complain("interrupted: finished blocks are kept, and the same command resumes the run", 130)
    if isinstance(error, Stopped):
        return _complain(str(error), CODE)
    if os.environ.get("HAARFLOW_TRACEBACK"):
        raise error
    if isinstance(error, OSError) and error.errno is not None:
        return _complain(_system_sentence(error), 1)
    if in_users_code(error):
        return _complain(f"your code failed: {fault(error)}. HAARFLOW_TRACEBACK=1 shows the full traceback", 1)
    if isinstance(error, MemoryError):
        return _complain(
            f"there is not enough memory ({error}): choose a smaller lattice, batch, block or fewer chains", 1
        )
    if raised_on_purpose(error):
        return _complain(str(error), 1)
    raise error


def _system_sentence(error: OSError) -> str:
    import errno

    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"the disk is full{where}: no file was overwritten and finished blocks are kept; free some space and repeat "
            "the command"
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
    """The options before the command."""


for command in (
    run.run,
    run.train,
    run.sample,
    run.gather,
    info.measure,
    info.info,
    convert.convert,
    info.new,
    info.backends,
    info.recipes,
    info.exact,
    verify.verify,
    bench.bench,
    publish.export,
    publish.cite,
):
    app.command()(command)
