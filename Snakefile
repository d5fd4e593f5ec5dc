# snakemake --cores all          params.yaml; where that is the shipped benchmark and there is no CUDA device, digits
# snakemake --cores all digits   a preset by its name, as the files in workflow/presets
# snakemake --cores all workflow/tuning/digits.csv   the search for learning rates that the preset was set by
#
# Every rule has the run's name as a wildcard, so a job means the same on a head node without a GPU, on a node that has
# one, and after params.yaml has changed. Only the default target depends on the machine.


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/paradigms.smk"
include: "workflow/rules/publish.smk"
include: "workflow/rules/tune.smk"


report: "workflow/report/workflow.rst"


# On a cluster these run where snakemake does: short, or, as the data, in need of a network that nodes often lack.
localrules:
    all,
    data,
    aggregate,
    claims,
    report,
    manifest,


rule all:
    default_target: True
    input:
        published(DEFAULT_RUN),


# One target for each preset, and for params.yaml under its own name.
for _run in KNOWN_RUNS:

    rule:
        name:
            _run
        input:
            published(_run),
        localrule: True


onstart:
    for run in requested_runs():
        say(disk.summary(params_of(run)))
        if workflow.local_exec and (held := memory.summary(params_of(run), workflow.resource_settings.cores or 1)):
            say(held)


onsuccess:
    let_log_catch_up()
    for run in [] if touching() else requested_runs():
        if finished(run):
            complete_records(run)
            shell(f"python -m diffbench finding {run}")
        else:
            say(f"{run}: a part of it is done; 'snakemake --cores all {run}' makes the rest")
    say(f"elapsed: {elapsed()}")
    if requested_runs() == [DEFAULT_RUN]:
        say(WHY)


onerror:
    let_log_catch_up()
    say("Some jobs failed: their last lines are above, their logs under logs/.")
    say("Mend what they name and give the same command again: what is done stays done.")
