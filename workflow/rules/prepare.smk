# data -> classifier -> reference: what every paradigm shares.


rule data:
    input:
        sources("data"),
    output:
        "results/{run}/data.npz",
        "results/{run}/data.json",
        "results/{run}/records/data.json",
    log:
        "logs/{run}/data.log",
    conda:
        "../envs/diffbench.yaml"
    params:
        code=code("data"),
        tracked=tracked("data"),
    shell:
        "python -m diffbench data {wildcards.run} > {log} 2>&1"


rule classifier:
    input:
        "results/{run}/data.npz",
        sources("classifier"),
    output:
        "results/{run}/classifier.safetensors",
        "results/{run}/classifiers.safetensors",
        "results/{run}/classifier.json",
        "results/{run}/records/classifier.json",
    log:
        "logs/{run}/classifier.log",
    priority: 20  # all scoring waits for it
    conda:
        "../envs/diffbench.yaml"
    threads: threads_of
    resources:
        gpu=gpus,
        mem_mb=megabytes,
        runtime=minutes("classifier"),
    params:
        code=code("classifier"),
        tracked=tracked("classifier", "compute"),
    shell:
        "python -m diffbench classifier {wildcards.run} > {log} 2>&1"


rule reference:
    input:
        "results/{run}/data.npz",
        "results/{run}/classifier.safetensors",
        "results/{run}/classifiers.safetensors",
        sources("reference"),
    output:
        "results/{run}/reference.npz",
        "results/{run}/reference.json",
        "results/{run}/records/reference.json",
    log:
        "logs/{run}/reference.log",
    priority: 20  # all scoring waits for it
    conda:
        "../envs/diffbench.yaml"
    threads: threads_of
    resources:
        gpu=gpus,
        mem_mb=megabytes,
        runtime=minutes("reference"),
    params:
        code=code("reference"),
        tracked=tracked("compute", "evaluation", "sampling.images"),
    shell:
        "python -m diffbench reference {wildcards.run} > {log} 2>&1"
