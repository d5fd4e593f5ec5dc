# What the rules share: the runs, their checked params, and the parts of them a stage depends on.
import json
import re
import sys
import time
from functools import cache, reduce
from operator import getitem
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from diffbench import config as params_files
from diffbench import design, runs
from diffbench.errors import UserError, printable
from diffbench.pipeline import demand, disk, engines, manifest, memory
from diffbench.pipeline import sources as source_files
from diffbench.pipeline.jobs import jobs
from diffbench.tables import layout, provenance
from diffbench.runtime.files import check_folder
from diffbench.runtime.hardware import cuda_devices
from diffbench.runtime.places import Places
from diffbench.runtime.progress import clock
from diffbench.runtime.yaml_file import read_yaml

min_version("9.27")

if config:
    raise WorkflowError("--config and --configfile are not read: edit params.yaml, which DVC reads too")

STARTED = time.time()


def stop(error):
    """End with one line a mistake and exit code 2, before anything runs; Snakemake's own errors exit 1."""
    for line in str(error).split("\n"):
        print(f"error: {printable(line)}", file=sys.stderr)
    engines.let_dvc_in()
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(2)


try:
    runs.refuse_another_package()
    DEFAULT_RUN, WHY = runs.default()
    runs.load(DEFAULT_RUN)
    KNOWN_RUNS = list(dict.fromkeys([read_yaml(params_files.PARAMS)["name"], *params_files.preset_names()]))
except UserError as error:
    stop(error)


@cache
def params_of(run):
    """The checked params of a run; its mistakes end the whole call."""
    try:
        return runs.load(run)
    except UserError as error:
        stop(error)


def pick(run, *keys):
    """The values of dotted keys, as text that does not change when keys are reordered or a comment is added.

    The keys are those that the same stage lists in dvc.yaml.
    """
    raw = params_of(run).raw
    return {key: json.dumps(reduce(getitem, key.split("."), raw), sort_keys=True) for key in keys}


def tracked(*keys):
    """A params function; {paradigm} in a key stands for the wildcard."""
    return lambda wildcards: pick(wildcards.run, *(key.format(**wildcards) for key in keys))


def sources(stage):
    """Files whose change makes a stage run again: the sources that decide what it writes, and parts from outside."""
    added = [path.as_posix() for path in source_files.extended(stage)]
    return lambda wildcards: source_files.sources(stage, params_of(wildcards.run).data.source) + added


def code(stage):
    """A hash of those files: Snakemake looks at times first, which are old in a tree that was copied with them."""
    return lambda wildcards: source_files.code_hash(stage, params_of(wildcards.run).data.source)


def gpus(wildcards):
    """Places on the GPU a job asks for: one where its run's device is CUDA, so that the cap does not hold on a CPU.

    With `auto` it is CUDA where this machine has it.
    """
    device = params_of(wildcards.run).compute.device
    return int(device == "cuda" or (device == "auto" and cuda_devices() > 0))


def megabytes(wildcards, attempt):
    """Megabytes a scheduler is asked for; no limit on one machine, where no pool of mem_mb is declared."""
    return demand.memory_mb(params_of(wildcards.run), bool(gpus(wildcards)), attempt)


def minutes(stage):
    """A function of the minutes that a scheduler is asked for."""

    def runtime(wildcards, attempt):
        own = {key: value for key, value in wildcards.items() if key != "run"}
        return demand.minutes(params_of(wildcards.run), stage, bool(gpus(wildcards)), attempt, **own)

    return runtime


def threads_of(wildcards):
    """The threads the params fix for a job."""
    return params_of(wildcards.run).compute.threads


def manifest_of(run):
    """The last file of a run."""
    return Places(run).manifest.as_posix()


def sampled(wildcards):
    """The sampling stages a paradigm is scored over; `native` where params give it one."""
    steps = design.step_values(params_of(wildcards.run), wildcards.paradigm)
    return expand("results/{{run}}/samples/{{paradigm}}/{{seed}}/{steps}.{kind}", steps=steps, kind=["npz", "json"])


def sample_keys(wildcards):
    """The params a sampling stage depends on; its step count stands in the command unless it is the native one."""
    own = [f"sampling.{wildcards.steps}.{wildcards.paradigm}"] if wildcards.steps in ("native", "arms") else []
    row = [f"paradigms.{wildcards.paradigm}.{key}" for key in ("guidance", "samplers")]
    shared = [f"sampling.{key}" for key in ("batch_size", "clip", "guidance", "images", "selection_images")]
    return pick(wildcards.run, "compute", *own, *row, *shared)


def worse_networks(wildcards):
    """The snapshots, for arms that steer away from the network as it stood earlier in its training."""
    own = "results/{run}/train/{paradigm}/{seed}/snapshots.safetensors"
    return [own.format(**wildcards)] if wildcards.steps == "arms" else []


def of_all(*patterns):
    """Files of every paradigm and seed of a run."""

    def files(wildcards):
        params = params_of(wildcards.run)
        return expand(
            list(patterns), run=wildcards.run, paradigm=list(params.paradigms), seed=params.seeds, allow_missing=True
        )

    return files


def records(wildcards):
    """What every job's files were made from."""
    return [job.record.as_posix() for job in jobs(params_of(wildcards.run))]


def tuned(wildcards):
    """The scores of the search for learning rates."""
    return expand("results/{{run}}/tune/{paradigm}.json", paradigm=list(params_of(wildcards.run).paradigms))


def table_files(folder, stage=None):
    """The files of all tables, or of those one stage writes, under a folder that may hold wildcards."""
    return [path.as_posix() for path in layout.files(Path(folder), stage)]


def curve_files(folder):
    """The files that DVC draws, under a folder that may hold wildcards."""
    return [path.as_posix() for path in layout.curves(Path(folder))]


def published(run):
    """What a run leaves for its readers, and its last file.

    The last file alone would not do as a target: Snakemake does not miss a deleted page that an existing manifest was
    made from.
    """
    places = Places(run)
    pages = (places.report, places.samples_poster, places.quality_poster, places.metrics, places.headline)
    tables = [*table_files(places.tables), *curve_files(places.plots)]
    return [manifest_of(run), *(page.as_posix() for page in pages), *tables]


def requested_runs():
    """The runs that were asked for on the command line, the default one if nothing was; single files are no run."""
    asked = set(workflow.dag_settings.targets or ["all"])
    names = {run: {run, manifest_of(run)} | ({"all"} if run == DEFAULT_RUN else set()) for run in KNOWN_RUNS}
    return [run for run in KNOWN_RUNS if names[run] & asked]


def finished(run):
    """Whether all of a run is there and of the params and code of now; a call may have asked for a part of it only."""
    try:
        return all(Path(path).exists() for path in published(run)) and not manifest.edits(params_of(run))
    except UserError:
        return False


def complete_records(run):
    """Have Snakemake know all files of a finished run, those it did not make too, or it would miss an edited param."""
    params = params_of(run)
    made = [path for job in jobs(params) for path in job.outputs if Path(path).exists()]
    if not all(map(engines.has_record, made)):
        try:
            manifest.tell(params, engines.tell_snakemake)
        except UserError as error:
            stop(error)


def elapsed():
    """Time since the Snakefile was read."""
    return clock(time.time() - STARTED)


def say(text):
    """Print a line at once and in one piece: Snakemake writes its own lines from another thread."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def asked_runs():
    """The runs that a command line means, by name or by one of their files, before Snakemake has read it."""
    own = re.compile(r"(?:(?:results|reports|logs)/([^/]+)/.*|workflow/tuning/([^/]+)\.csv|([^/]+))")
    words = {part for word in sys.argv[1:] if (found := own.fullmatch(word)) for part in found.groups()}
    found = {run for run in KNOWN_RUNS if run in words}
    return found or {DEFAULT_RUN}


def log_folders(run):
    """The folders of a run's logs, in which the shell would fail without a way out."""
    kinds = {job.name.split("@")[0].split("-")[0] for job in jobs(params_of(run)) if "@" in job.name}
    return [Path("logs", run), *(Path("logs", run, kind) for kind in sorted(kinds))]


def touching():
    """Whether the call only declares files current, as the other engine does at its end."""
    return "--touch" in sys.argv or "-t" in sys.argv


def refuse_unknown_state():
    """Refuse to plan over results that Snakemake has no records of, where an edited param would go unnoticed."""
    if touching() or any(flag in sys.argv for flag in ("--unlock", "--lint", "-l")):
        return
    # What is forced is made again whatever is known, and then the manifest proves all the rest: so `adopt` mends.
    if any(re.match(r"--force(run|all)\b|-[A-Za-z]*[FR]", word) for word in sys.argv[1:]):
        return
    for run in asked_runs():
        if Path(manifest_of(run)).exists() and not engines.has_record(manifest_of(run)):
            stop(
                f"results/{run} was made elsewhere and Snakemake has no records of it; "
                f"'python -m diffbench adopt {run}' checks it and takes it over, or delete results/{run}"
            )


def let_log_catch_up():
    """Wait until the log has shown all events: its thread still draws at the foot of a terminal, over what is said next."""
    if (listener := workflow.logger_manager.queue_listener) is not None:
        listener.queue.join()


# Said while parsing, because onstart is silent in dry runs and where there is nothing to do.
if workflow.is_main_process:
    refuse_unknown_state()
    try:
        FOLDER_LOCK = engines.one_engine(sys.argv[1:])  # held as long as this process lives
        if FOLDER_LOCK:
            for _asked in asked_runs():
                disk.refuse_if_short(params_of(_asked))
                for _folder in log_folders(_asked):
                    check_folder(_folder)
    except UserError as error:
        stop(error)
    if not set(KNOWN_RUNS) & set(sys.argv):
        print(WHY, file=sys.stderr)


wildcard_constraints:
    run="[a-z][a-z0-9-]*",
    paradigm="[a-z][a-z0-9-]*",
    seed=r"\d+",
    steps=r"\d+|native|arms",
