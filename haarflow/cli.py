"""The command line: `haarflow VERB ...`, a thin face over the library.

Errors are one sentence on standard error with exit code 1. Results go to standard output, progress to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from haarflow.convert import convert

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

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="a built-in name (see `haarflow recipes`) or a TOML file")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="change the recipe for this run by its own paths: theory.beta=2.5 lattice=[8,8] train.steps=500; "
        "a table is left out by =false: samplers.hmc=false",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option("--backend", "-b", help="numpy, cupy, jax or torch; by default the first present of jax, torch"),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="the run's folder; by default runs/NAME")]
Device = Annotated[str | None, typer.Option(help="where to compute, such as cpu, cuda, cuda:1")]
Dtype = Annotated[str | None, typer.Option(help="precision: float64 (default) or float32")]
Seed = Annotated[int | None, typer.Option(help="the one seed of all random numbers; by default the recipe's")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="threads the engine may use; by default its own choice. 1 for fair timings")
]
Workers = Annotated[
    int, typer.Option(min=1, help="processes that draw the flow's blocks; the answer does not depend on it")
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON on standard output")]
Report = Annotated[bool, typer.Option("--report/--no-report", help="write report.html at the end")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]


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


def _use_threads(threads: int | None) -> None:
    """Bound the engines' threads; it works because no engine is loaded yet."""
    if threads is None:
        return
    for word in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"):
        os.environ[word] = str(threads)
    if threads == 1:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1".strip()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))


def _recipe(source: str, overrides: list[str] | None, **options: Any) -> Any:
    from haarflow import recipes

    return recipes.load(source, overrides or (), **options)


def _print_json(value: Any) -> None:
    from haarflow.core.files import plain

    print(json.dumps(plain(value), indent=2))


@app.command()
def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    backend: Engine = None,
    out: Out = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    threads: Threads = None,
    workers: Workers = 1,
    report: Report = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train, draw, compare with the exact result, and write report.html.

    The folder gets recipe.toml (complete, with versions), metrics.jsonl, model.safetensors, ensemble.h5, summary.json
    and report.html. The same command on the same folder goes on where it stopped; another recipe there is refused.
    """
    _use_threads(threads)
    from haarflow.pipeline import run as run_recipe
    from haarflow.progress import progress
    from haarflow.tables import summary_table

    asked = _recipe(recipe, overrides, run__backend=backend, run__device=device, run__dtype=dtype, seed=seed)
    folder = out or Path("runs") / asked.name
    summary = run_recipe(asked, folder, workers, progress(quiet), report)
    if as_json:
        _print_json(summary)
    else:
        print(summary_table(summary))
        print(
            f"\nThe report: {folder / 'report.html'}" if (folder / "report.html").exists() else f"\nThe run: {folder}"
        )


@app.command()
def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    backend: Engine = None,
    out: Out = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a recipe's flow and stop there; `haarflow run` with the same recipe and folder goes on."""
    _use_threads(threads)
    from haarflow.pipeline import train_only
    from haarflow.progress import progress

    asked = _recipe(recipe, overrides, run__backend=backend, run__device=device, run__dtype=dtype, seed=seed)
    folder = out or Path("runs") / asked.name
    figures = train_only(asked, folder, progress(quiet))
    if as_json:
        _print_json({"model": str(folder / "model.safetensors"), **figures})
    else:
        ess = "unknown" if figures["ess"] is None else f"{figures['ess']:.3f}"
        print(
            f"{figures['steps']} steps, {figures['cpu_s']:.1f} CPU seconds, ESS {ess}: {folder / 'model.safetensors'}"
        )


@app.command()
def sample(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="a model file, a run's folder or a shipped model's name")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="theory.beta=2.5 lattice=[16,16]; by default what it was trained for"
        ),
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="configurations to draw")] = 1000,
    metropolis: Annotated[
        bool, typer.Option("--metropolis", help="a Markov chain of e^-S instead of independent draws with weights")
    ] = False,
    backend: Engine = None,
    out: Out = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    threads: Threads = None,
    workers: Workers = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw configurations with a trained model, on any backend; no autodiff engine is needed.

    The folder gets ensemble.h5 with the configurations, their observables and log weights, and summary.json.
    """
    _use_threads(threads)
    from haarflow.pipeline import run as run_recipe
    from haarflow.progress import progress
    from haarflow.recipes import for_model
    from haarflow.tables import summary_table

    kind = "flow-metropolis" if metropolis else "flow-reweighting"
    options = {"run__backend": backend, "run__device": device, "run__dtype": dtype, "seed": seed}
    asked = for_model(model, kind, number, overrides or (), **options)
    folder = out or Path("runs") / asked.name
    summary = run_recipe(asked, folder, workers, progress(quiet), report=False)
    if as_json:
        _print_json(summary)
    else:
        print(summary_table(summary))
        print(f"\nThe ensemble: {folder / 'ensemble.h5'}")


@app.command()
def measure(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="a run's folder or an ensemble.h5")],
    as_json: Json = False,
) -> None:
    """Weigh up an ensemble again: every observable with error, autocorrelation time and exact value."""
    from haarflow.summary import measured
    from haarflow.tables import observables_table

    found = measured(path / "ensemble.h5" if path.is_dir() else path)
    if as_json:
        _print_json(found)
    else:
        print(observables_table(found))


@app.command()
def info(
    path: Annotated[
        str,
        typer.Argument(metavar="FILE", help="a model, an ensemble, a gauge field, a run's folder or a shipped model"),
    ],
    as_json: Json = False,
) -> None:
    """Tell what a file holds: a model's card, an ensemble's samplers, a run's state, a gauge field's checks.

    Exit code 1 where a gauge file disagrees with itself.
    """
    from haarflow.describe import describe
    from haarflow.tables import indented

    found = describe(path)
    if as_json:
        _print_json(found)
    else:
        print(indented(found))
    if found.get("agrees") is False:
        raise typer.Exit(1)


app.command()(convert)


@app.command()
def new(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="the recipe to start from")] = "u1-2d",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="write to this file instead of standard output")
    ] = None,
) -> None:
    """Write a commented template: every key there is, with its meaning, ready to change and run."""
    from haarflow import recipes

    text = recipes.template(recipe)
    if out is None:
        print(text, end="")
        return
    if out.exists():
        raise ValueError(f"{out} is there already and stays as it is: choose another --out")
    from haarflow.core.files import write_text

    write_text(out, text)
    print(f"Wrote {out}. Run it: haarflow run {out}")


@app.command("backends")
def list_backends(as_json: Json = False) -> None:
    """List the array engines: present or not, version, devices, precision, and what to install for the rest."""
    from haarflow.describe import engines
    from haarflow.tables import engines_table

    found = engines()
    if as_json:
        _print_json(found)
    else:
        print(engines_table(found))


@app.command("recipes")
def list_recipes(as_json: Json = False) -> None:
    """List the built-in recipes."""
    from haarflow import recipes

    found = recipes.names()
    if as_json:
        _print_json(found)
    else:
        width = max(map(len, found))
        print("\n".join(f"{name:<{width}}  {text}" for name, text in found.items()))
        print("\nRun one: haarflow run NAME. A commented copy to change: haarflow new NAME > mine.toml")


@app.command()
def exact(
    theory: Annotated[str, typer.Argument(metavar="THEORY", help="u1, phi4 or phi4-hopping")],
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="couplings and lattice: beta=7 lattice=[16,16]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what is known exactly of a theory: haarflow exact u1 beta=7 lattice=[16,16]."""
    from haarflow.describe import exact_results
    from haarflow.tables import indented

    found = exact_results(theory, values or ())
    if as_json:
        _print_json(found)
    else:
        print(indented(found))


@app.command()
def verify(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[SUBJECT]",
            help="package.module:name of a flow, model, theory, kernel, prior or group of yours (or of a function of a "
            "lattice that makes one); a model file; a recipe; the name of one of ours. Default: everything of ours",
        ),
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", "-b", help="all (those present), or names: numpy,strict,jax,torch,cupy,...")
    ] = "all",
    dtype: Annotated[str, typer.Option(help="precision: float64 or float32")] = "float64",
    profile: Annotated[
        str, typer.Option(help="how many examples: quick (under two minutes), ci, deep (as long as it takes)")
    ] = "quick",
    law: Annotated[list[str] | None, typer.Option("--law", "-l", help="check this law alone; may be repeated")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="processes; by default one a core")] = None,
    names: Annotated[
        bool, typer.Option("--list", help="list what there is to verify, and the laws of each kind")
    ] = False,
    why: Annotated[bool, typer.Option("--why", help="tell why a law does not apply, beside what was checked")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold objects against the laws: exact Jacobians, equivariance, reversibility, detailed balance, and the rest.

    Each cell of the table is the largest residual in units of its tolerance; what fails prints the smallest example as
    Python to paste. Exit code 1 when a law fails.
    """
    _one_thread_each()
    try:
        import hypothesis  # noqa: F401
    except ImportError:
        raise ImportError(
            "the laws draw examples with the package 'hypothesis': pip install 'haarflow[verify]'"
        ) from None
    from haarflow.progress import progress
    from haarflow.verification.table import catalogue, findings_table, reasons
    from haarflow.verification.verify import verify as hold

    if names:
        print(catalogue())
        return
    found = hold(
        subject, backend, dtype, profile, law or (), jobs=jobs or os.cpu_count() or 1, progress=progress(quiet)
    )
    if as_json:
        _print_json(found.as_dict())
    else:
        print(findings_table(found) + (f"\n\n{reasons(found)}" if why else ""))
    if found.failed:
        raise typer.Exit(1)


def _one_thread_each() -> None:
    """Workers share the cores by processes, not by threads."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
