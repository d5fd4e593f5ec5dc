# train -> sample -> evaluate, train -> convergence and train -> probe, for each paradigm and seed.


rule train:
    input:
        "results/{run}/data.npz",
        sources("train"),
    output:
        "results/{run}/train/{paradigm}/{seed}/model.safetensors",
        "results/{run}/train/{paradigm}/{seed}/snapshots.safetensors",
        "results/{run}/train/{paradigm}/{seed}/history.json",
        "results/{run}/train/{paradigm}/{seed}/cost.json",
        "results/{run}/records/train/{paradigm}/{seed}.json",
    log:
        "logs/{run}/train/{paradigm}-{seed}.log",
    # Longest jobs first, so that no training starts when the other cores have nothing left to do.
    priority: 10
    conda:
        "../envs/diffbench.yaml"
    threads: threads_of
    resources:
        gpu=gpus,
        mem_mb=megabytes,
        runtime=minutes("train"),
    params:
        code=code("train"),
        tracked=tracked(
            "compute",
            "paradigms.{paradigm}.conditional",
            "paradigms.{paradigm}.lr",
            "paradigms.{paradigm}.network",
            "paradigms.{paradigm}.path",
            "paradigms.{paradigm}.size",
            "paradigms.{paradigm}.target",
            "paradigms.{paradigm}.times",
            "training",
        ),
    shell:
        "python -m diffbench train {wildcards.run} --paradigm {wildcards.paradigm} --seed {wildcards.seed} > {log} 2>&1"


rule sample:
    input:
        "results/{run}/data.npz",
        "results/{run}/train/{paradigm}/{seed}/model.safetensors",
        worse_networks,
        sources("sample"),
    output:
        "results/{run}/samples/{paradigm}/{seed}/{steps}.npz",
        "results/{run}/samples/{paradigm}/{seed}/{steps}.json",
        "results/{run}/records/sample/{paradigm}/{seed}/{steps}.json",
    log:
        "logs/{run}/sample/{paradigm}-{seed}-{steps}.log",
    conda:
        "../envs/diffbench.yaml"
    threads: threads_of
    resources:
        gpu=gpus,
        mem_mb=megabytes,
        runtime=minutes("sample"),
    params:
        code=code("sample"),
        tracked=sample_keys,
    shell:
        "python -m diffbench sample {wildcards.run} --paradigm {wildcards.paradigm} --seed {wildcards.seed}"
        " --steps {wildcards.steps} > {log} 2>&1"


rule evaluate:
    input:
        "results/{run}/data.npz",
        "results/{run}/classifier.safetensors",
        "results/{run}/classifiers.safetensors",
        "results/{run}/reference.npz",
        sampled,
        sources("evaluate"),
    output:
        "results/{run}/evaluate/{paradigm}/{seed}.json",
        "results/{run}/evaluate/{paradigm}/{seed}.png",
        "results/{run}/evaluate/{paradigm}/{seed}-cost.json",
        "results/{run}/evaluate/{paradigm}/{seed}-failures.png",
        "results/{run}/records/evaluate/{paradigm}/{seed}.json",
    log:
        "logs/{run}/evaluate/{paradigm}-{seed}.log",
    conda:
        "../envs/diffbench.yaml"
    threads: threads_of
    resources:
        gpu=gpus,
        mem_mb=megabytes,
        runtime=minutes("evaluate"),
    params:
        code=code("evaluate"),
        tracked=tracked(
            "compute",
            "evaluation",
            "paradigms.{paradigm}.conditional",
            "paradigms.{paradigm}.guidance",
            "paradigms.{paradigm}.samplers",
            "sampling",
        ),
    shell:
        "python -m diffbench evaluate {wildcards.run} --paradigm {wildcards.paradigm} --seed {wildcards.seed} > {log} 2>&1"


rule convergence:
    input:
        "results/{run}/data.npz",
        "results/{run}/classifier.safetensors",
        "results/{run}/classifiers.safetensors",
        "results/{run}/reference.npz",
        "results/{run}/train/{paradigm}/{seed}/model.safetensors",
        "results/{run}/train/{paradigm}/{seed}/snapshots.safetensors",
        "results/{run}/train/{paradigm}/{seed}/history.json",
        sources("convergence"),
    output:
        "results/{run}/convergence/{paradigm}/{seed}.json",
        "results/{run}/convergence/{paradigm}/{seed}.png",
        "results/{run}/records/convergence/{paradigm}/{seed}.json",
    log:
        "logs/{run}/convergence/{paradigm}-{seed}.log",
    conda:
        "../envs/diffbench.yaml"
    threads: threads_of
    resources:
        gpu=gpus,
        mem_mb=megabytes,
        runtime=minutes("convergence"),
    params:
        code=code("convergence"),
        tracked=tracked(
            "compute",
            "convergence",
            "evaluation",
            "sampling.batch_size",
            "sampling.clip",
            "sampling.images",
            "training",
        ),
    shell:
        "python -m diffbench convergence {wildcards.run} --paradigm {wildcards.paradigm} --seed {wildcards.seed} > {log} 2>&1"


rule probe:
    input:
        "results/{run}/data.npz",
        "results/{run}/train/{paradigm}/{seed}/model.safetensors",
        sources("probe"),
    output:
        "results/{run}/probe/{paradigm}/{seed}.json",
        "results/{run}/probe/{paradigm}/{seed}.png",
        "results/{run}/records/probe/{paradigm}/{seed}.json",
    log:
        "logs/{run}/probe/{paradigm}-{seed}.log",
    conda:
        "../envs/diffbench.yaml"
    threads: threads_of
    resources:
        gpu=gpus,
        mem_mb=megabytes,
        runtime=minutes("probe"),
    params:
        code=code("probe"),
        tracked=tracked("compute", "probe", "sampling.clip", "sampling.images"),
    shell:
        "python -m diffbench probe {wildcards.run} --paradigm {wildcards.paradigm} --seed {wildcards.seed} > {log} 2>&1"
