"""The one command line that Snakemake's rules, DVC's stages and people call."""

import argparse
import importlib
import json
import os
import resource
import shutil
import sys
import time
from contextlib import chdir, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from diffbench import __version__, config, design, runs
from diffbench.config import models
from diffbench.config.models import Params
from diffbench.errors import UserError, printable
from diffbench.pipeline.records import recording
from diffbench.runtime.files import replacing
from diffbench.runtime.gpu_lock import hold
from diffbench.runtime.places import Places
from diffbench.runtime.yaml_file import read_yaml


@dataclass(frozen=True)
class Stage:
    """A stage: what it does, and the options that its ``run`` takes after the params."""

    summary: str
    options: tuple[str, ...] = ()
    gpu: bool = False  # uses one beside others and times nothing; sampling takes the GPU by itself

    def __call__(self, params: Params, arguments: argparse.Namespace) -> None:
        """Run it. Only what it needs is imported: torch alone takes a second."""
        run = importlib.import_module(f"diffbench.stages.{arguments.command}").run
        run(params, *(getattr(arguments, option) for option in self.options))


STAGES = {
    "data": Stage("read, split and caption the images"),
    "classifier": Stage("train the digit classifier", gpu=True),
    "reference": Stage("features and floors of the real images", gpu=True),
    "train": Stage("train one paradigm with one seed", ("paradigm", "seed"), gpu=True),
    "sample": Stage("sample a trained network at one step count", ("paradigm", "seed", "steps")),
    "evaluate": Stage("score every cell of a trained network", ("paradigm", "seed"), gpu=True),
    "convergence": Stage("score a training's snapshots", ("paradigm", "seed"), gpu=True),
    "probe": Stage("errors by noise level, and straightness, of a trained network", ("paradigm", "seed"), gpu=True),
    "aggregate": Stage("collect all scores into tables"),
    "claims": Stage("judge the article's claims on the tables"),
    "report": Stage("write the HTML report"),
    "manifest": Stage("write the manifest and tell the other engine"),
    "tune": Stage("search a paradigm's learning rate, or collect the search's table", ("paradigm",), gpu=True),
}


def _adopt(params: Params, _: argparse.Namespace) -> None:
    from diffbench.pipeline.manifest import adopt

    told = adopt(params)
    verb = "take" if len(told) > 1 else "takes"
    taken = f"{' and '.join(told)} {verb} it for current" if told else "there is no engine here to be told"
    print(f"results/{params.name} verified; {taken}")


def _verify(params: Params, _: argparse.Namespace) -> None:
    from diffbench.pipeline.manifest import differences, way_out

    found = differences(params)
    if found:
        raise UserError("\n".join([*found, f"{len(found)} differences; run {way_out(params, found)}"]))
    print(f"results/{params.name} and reports/{params.name} agree with the manifest")


def _finding(params: Params, _: argparse.Namespace) -> None:
    from diffbench.report.finding import of_run

    print(of_run(params))


def _prune(params: Params, arguments: argparse.Namespace) -> None:
    from diffbench.pipeline.prune import prune

    prune(params, arguments.yes)


def _disk(params: Params, _: argparse.Namespace) -> None:
    from diffbench.pipeline import disk, memory

    print(disk.summary(params))
    if held := memory.summary(params, 1):  # as DVC runs it
        print(held)


ON_REQUEST = {  # of a run, by people; no engine runs them as jobs
    "adopt": (_adopt, "verify results made elsewhere and tell both engines"),
    "verify": (_verify, "compare a run's files with its manifest"),
    "prune": (_prune, "list what params no longer ask for and what killed processes left, or delete it"),
    "disk": (_disk, "estimate what a run takes on disk and a job in memory"),
    "finding": (_finding, "print the report's headline and path"),
}


class _Plain(yaml.SafeDumper):
    """Writes a value that a preset shares between rows once for each row, not as an alias."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def write_preset(name: str, force: bool) -> None:
    """Make a preset the params.yaml.

    Raises:
        UserError: no such preset, or params.yaml holds edits and ``force`` is off.
    """
    names = config.preset_names()
    if name not in names:
        raise UserError(f"--preset {name}: no such preset; allowed: {', '.join(names)}")
    if config.PARAMS.exists() and not force:
        own = read_yaml(config.PARAMS)
        if all(own != config.preset(known) for known in names):
            raise UserError(f"{config.PARAMS} holds edits that this would overwrite; save it elsewhere, or add --force")
    source = config.PRESETS / f"{name}.yaml"
    with replacing(config.PARAMS) as temporary:
        if name == config.FULL:
            shutil.copyfile(source, temporary)
        else:
            header = f"# The whole of the preset {name}: {source} laid over {config.PRESETS / config.FULL}.yaml.\n"
            body = yaml.dump(config.preset(name), Dumper=_Plain, sort_keys=False, width=110, default_flow_style=None)
            temporary.write_text(header + body, encoding="utf-8")
    print(f"wrote {config.PARAMS}: {name}")
    _adopt_if_current(name)


def _adopt_if_current(name: str) -> None:
    from diffbench.pipeline.engines import tell_dvc
    from diffbench.pipeline.manifest import differences, tell

    if not Places(name).manifest.exists():
        return
    params = runs.load(name)
    found = differences(params)
    if found:
        print(f"results/{name} is not taken over: {found[0]}")
        return
    told = tell(params, tell_dvc)
    print(f"results/{name} verified{' and taken over' if told else ''}")


def _params(arguments: argparse.Namespace) -> None:
    if arguments.schema:
        print(json.dumps(models.schema(), indent=1))
        return
    if arguments.preset and arguments.write:
        write_preset(arguments.preset, arguments.force)
        return
    run = arguments.preset or read_yaml(config.PARAMS).get("name")
    params = runs.load(str(run))
    print(yaml.safe_dump(params.raw, sort_keys=False, width=110, default_flow_style=None), end="")


def _compare(arguments: argparse.Namespace) -> int:
    from diffbench.compare.terminal import run

    return 0 if run(arguments.left, arguments.right, arguments.csv, arguments.all) else 1


def _article(arguments: argparse.Namespace) -> int:
    from diffbench.report.article import run

    run(arguments.run, arguments.write, arguments.beside)
    return 0


def _readme(arguments: argparse.Namespace) -> int:
    from diffbench.report.readme import run

    run(arguments.run, arguments.beside)
    return 0


def _again(arguments: argparse.Namespace) -> int:
    from diffbench.compare.locate import find
    from diffbench.report import again
    from diffbench.tables import store

    folder = find(arguments.run).parent
    params = runs.load(again.run_of(folder))
    data, claims, report = (
        importlib.import_module(f"diffbench.stages.{name}") for name in ("data", "claims", "report")
    )
    with again.unpacked(folder, params) as place:
        places = Places(params.name)
        # From here, because its source may be named by a relative path.
        data.prepare(params.data, place / places.data, place / places.data_facts)
        with chdir(place):
            claims.run(params)
            store.describe(places.tables)
            report.run(params)
    print(f"wrote {folder / 'report.html'} and the verdicts beside it")
    return 0


def _dag(arguments: argparse.Namespace) -> int:
    from diffbench.pipeline import dag

    if arguments.write:
        print(f"{config.DAG}: {'written' if dag.write() else 'is up to date'}")
    else:
        dag.refuse_older()
    return 0


# They read tables only, of runs whose params may be gone, or no run at all.
APART = {"compare": _compare, "article": _article, "readme": _readme, "again": _again, "dag": _dag}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="diffbench", description=__doc__)
    top.add_argument("--version", action="version", version=f"diffbench {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    of_runs = {name: stage.summary for name, stage in STAGES.items()}
    for name, summary in (of_runs | {name: summary for name, (_, summary) in ON_REQUEST.items()}).items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("run", help="params.yaml's name, or a preset's")
        options = STAGES[name].options if name in STAGES else ()
        if "paradigm" in options:
            command.add_argument("--paradigm", required=name != "tune", help="a row of the params")
        if "seed" in options:
            command.add_argument("--seed", required=True, help="a training seed of the params")
        if "steps" in options:
            command.add_argument("--steps", required=True, help="a step count of params, 'native' or 'arms'")
        if name == "prune":
            command.add_argument("--yes", action="store_true", help="delete what is listed")
    dag = commands.add_parser("dag", help="whether dvc.yaml names the source files that the code has (exit code 1: no)")
    dag.add_argument("--write", action="store_true", help="bring dvc.yaml up to date")
    params = commands.add_parser("params", help="check and print params, or make a preset the params.yaml")
    params.add_argument("--preset", help="a preset instead of params.yaml")
    params.add_argument("--write", action="store_true", help="write the preset to params.yaml")
    params.add_argument("--force", action="store_true", help="overwrite edits")
    params.add_argument("--schema", action="store_true", help="print what params may hold, for editors")
    compare = commands.add_parser("compare", help="whether two runs agree within seed noise (exit code 1: they do not)")
    compare.add_argument("left", help="a run's name, or a folder of tables")
    compare.add_argument("right", nargs="?", help="the same; by default the committed reference of the left run")
    compare.add_argument("--csv", type=Path, metavar="FILE", help="write the table of cells")
    compare.add_argument("--all", action="store_true", help="print every cell, not only those that differ")
    article = commands.add_parser("article", help="the page on the article's claims and formulas, from a run's tables")
    article.add_argument("run", help="a run's name, a reference's, or a folder of tables")
    article.add_argument("--beside", nargs="+", default=[], metavar="run", help="runs that test what it cannot")
    article.add_argument("--write", type=Path, metavar="FILE", help="docs/article.md; by default it is printed")
    readme = commands.add_parser("readme", help="write the README's results from a run's tables")
    readme.add_argument("run", help="a run's name, a reference's, or a folder of tables")
    readme.add_argument("--beside", nargs="+", default=[], metavar="run", help="runs that test what it cannot")
    again = commands.add_parser(
        "again", help="judge and render a run again from its tables and the pictures in its page"
    )
    again.add_argument("run", help="a run's name, a reference's, or a folder of tables")
    return top


def command_line(arguments: argparse.Namespace) -> str:
    """A job's command as both engines write it."""
    words = ["python -m diffbench", arguments.command, arguments.run]
    words += [f"--{name} {getattr(arguments, name)}" for name in ("paradigm", "seed", "steps") if name in arguments]
    return " ".join(words)


def check_options(params: Params, arguments: argparse.Namespace) -> None:
    """Refuse a row, a seed or a step count that params do not have; the seed becomes a number.

    It is read as text first: of params with a seed 0.0 DVC makes ``--seed 0.0``, and the mistake is that of the params.

    Raises:
        UserError: there is one.
    """
    row = getattr(arguments, "paradigm", None)
    allowed = {"paradigm": [*params.paradigms], "seed": [*map(str, params.seeds)]}
    if row in params.paradigms:
        allowed["steps"] = design.step_values(params, row)
    for option, values in allowed.items():
        value = getattr(arguments, option, None)
        if value is not None and value not in values:
            raise UserError(f"--{option} {value}: not in params; allowed: {', '.join(values)}")
    if "seed" in arguments:
        arguments.seed = int(arguments.seed)


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code is 2 for a mistake of the user's, which is told in one line each."""
    arguments = parser().parse_args(argv)
    try:
        if arguments.command == "params":
            _params(arguments)
            return 0
        if arguments.command in APART:
            return APART[arguments.command](arguments)
        params = runs.load(arguments.run)
        if arguments.command in ON_REQUEST:
            ON_REQUEST[arguments.command][0](params, arguments)
            return 0
        check_options(params, arguments)
        stage = STAGES[arguments.command]
        beside_others = hold(params.compute.device, alone=False) if stage.gpu else nullcontext()
        with recording(params, command_line(arguments)) as needed, beside_others:
            started = time.monotonic()
            if needed:
                stage(params, arguments)
        if needed:
            print(spent(arguments.command, time.monotonic() - started))  # with the record written: a pipe may be shut
    except UserError as error:
        return complain(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        return complain(f"{arguments.command}: out of memory; {SMALLER}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = error.filename or "standard output"
        return complain(f"{where}: {error.strerror or error}; free space or fix permissions, and run again")
    return 0


def spent(stage: str, seconds: float) -> str:
    """What this process's job took, for the end of its log: its time and the most memory it held.

    The interpreter and its libraries count. ``benchmarks/memory.py`` reads these lines.
    """
    held = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux counts in KiB
    line = f"{stage}: {seconds:.1f} s, at most {held / 1e6:.0f} MB resident"
    torch = sys.modules.get("torch")  # not imported for this: some stages do without
    if torch is None or not torch.cuda.is_initialized():
        return line
    # What the allocator took it keeps, while its own count of the peak is set back before each sampled cell.
    return f"{line}, {torch.cuda.memory_reserved() / 1e6:.0f} MB on the GPU"


SMALLER = "choose smaller batches or networks in params, run fewer jobs at once, or use a larger machine"


def _out_of_memory(error: Exception) -> bool:
    """Whether memory has run out, of the machine or of its GPU; torch says some of it as a plain RuntimeError."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def complain(lines: str) -> int:
    """Tell mistakes, one line each, and give the exit code for them; a full disk may also hold the log."""
    with suppress(OSError):
        for line in lines.split("\n"):
            print(f"error: {printable(line)}", file=sys.stderr)
    return 2
