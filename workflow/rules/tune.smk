# The search for learning rates: snakemake --cores all workflow/tuning/<run>.csv. No part of a run: its table is
# committed, and the rates it found stand in the presets.


rule tune:
    input:
        "results/{run}/data.npz",
        "results/{run}/classifier.safetensors",
        "results/{run}/reference.npz",
        sources("tune"),
    output:
        "results/{run}/tune/{paradigm}.json",
    log:
        "logs/{run}/tune/{paradigm}.log",
    conda:
        "../envs/diffbench.yaml"
    threads: threads_of
    resources:
        gpu=gpus,
        mem_mb=megabytes,
        runtime=minutes("tune"),
    params:
        code=code("tune"),
        tracked=tracked(
            "compute",
            "paradigms.{paradigm}.conditional",
            "paradigms.{paradigm}.guidance",
            "paradigms.{paradigm}.network",
            "paradigms.{paradigm}.path",
            "paradigms.{paradigm}.samplers",
            "paradigms.{paradigm}.size",
            "paradigms.{paradigm}.target",
            "paradigms.{paradigm}.times",
            "sampling.batch_size",
            "sampling.clip",
            "sampling.guidance",
            "sampling.selection_images",
            "training",
            "tune",
        ),
    shell:
        "python -m diffbench tune {wildcards.run} --paradigm {wildcards.paradigm} > {log} 2>&1"


rule tune_table:
    input:
        tuned,
    output:
        "workflow/tuning/{run}.csv",
    log:
        "logs/{run}/tune.log",
    localrule: True
    conda:
        "../envs/diffbench.yaml"
    shell:
        "python -m diffbench tune {wildcards.run} > {log} 2>&1"
