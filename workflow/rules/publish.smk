# aggregate -> claims -> report -> manifest: what people read, and the handing of the run's state to DVC.


rule aggregate:
    input:
        "results/{run}/data.json",
        "results/{run}/classifier.json",
        "results/{run}/reference.json",
        of_all(
            "results/{run}/train/{paradigm}/{seed}/history.json",
            "results/{run}/train/{paradigm}/{seed}/cost.json",
            "results/{run}/evaluate/{paradigm}/{seed}.json",
            "results/{run}/evaluate/{paradigm}/{seed}-cost.json",
            "results/{run}/convergence/{paradigm}/{seed}.json",
            "results/{run}/probe/{paradigm}/{seed}.json",
        ),
        sources("aggregate"),
    output:
        report(
            table_files("reports/{run}/tables", "aggregate"),
            caption="../report/tables.rst",
            category="Tables",
            labels={"run": "{run}"},
        ),
        "reports/{run}/metrics.json",
        "reports/{run}/headline.json",
        curve_files("reports/{run}/plots"),
        "results/{run}/records/aggregate.json",
    log:
        "logs/{run}/aggregate.log",
    conda:
        "../envs/diffbench.yaml"
    params:
        code=code("aggregate"),
        # All but the search for learning rates: provenance holds a hash of them.
        tracked=tracked(
            "classifier",
            "compute",
            "convergence",
            "data",
            "evaluation",
            "name",
            "paradigms",
            "probe",
            "sampling",
            "seeds",
            "training",
        ),
    shell:
        "python -m diffbench aggregate {wildcards.run} > {log} 2>&1"


# Apart from aggregate, so that another margin runs nothing again but the verdicts and the page.
rule claims:
    input:
        expand(
            "reports/{{run}}/tables/{table}.parquet",
            table=[
                "cells",
                "convergence",
                "cost",
                "floors",
                "judges",
                "noise_error",
                "paradigms",
                "straightness",
            ],
        ),
        "workflow/claims.yaml",
        sources("claims"),
    output:
        report(
            table_files("reports/{run}/tables", "claims"),
            caption="../report/claims.rst",
            category="Tables",
            labels={"run": "{run}"},
        ),
        "results/{run}/records/claims.json",
    log:
        "logs/{run}/claims.log",
    conda:
        "../envs/diffbench.yaml"
    params:
        code=code("claims"),
        tracked=tracked("data", "paradigms", "seeds"),
    shell:
        "python -m diffbench claims {wildcards.run} > {log} 2>&1"


rule report:
    input:
        "results/{run}/data.npz",
        table_files("reports/{run}/tables"),
        of_all(
            "results/{run}/evaluate/{paradigm}/{seed}.png",
            "results/{run}/evaluate/{paradigm}/{seed}-failures.png",
            "results/{run}/convergence/{paradigm}/{seed}.png",
            "results/{run}/probe/{paradigm}/{seed}.png",
        ),
        # Runs committed to hold others against; the page says how far this one agrees.
        sorted(path.as_posix() for path in Path("reports/reference").glob("*/tables/*.parquet")),
        sources("report"),
    output:
        report(
            "reports/{run}/report.html",
            caption="../report/page.rst",
            category="Comparison",
            labels={"run": "{run}"},
        ),
        "reports/{run}/samples.png",
        "reports/{run}/quality.png",
        "results/{run}/records/report.json",
    log:
        "logs/{run}/report.log",
    conda:
        "../envs/diffbench.yaml"
    params:
        code=code("report"),
        tracked=tracked("convergence", "data", "name", "paradigms", "probe", "sampling", "seeds", "training"),
    shell:
        "python -m diffbench report {wildcards.run} > {log} 2>&1"


# Depends on all params and all of the source, so that it runs whenever anything did: DVC stops early where an output
# comes out the same, and without this Snakemake would never hear of it.
rule manifest:
    input:
        "reports/{run}/report.html",
        records,
        "workflow/claims.yaml",
        sorted(provenance.sources()),
    output:
        "results/{run}/manifest.json",
    log:
        "logs/{run}/manifest.log",
    conda:
        "../envs/diffbench.yaml"
    params:
        code=provenance.source_hash(),
        tracked=lambda wildcards: {"params.yaml": json.dumps(params_of(wildcards.run).raw, sort_keys=True)},
    shell:
        "python -m diffbench manifest {wildcards.run} > {log} 2>&1"
