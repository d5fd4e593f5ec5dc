#!/bin/bash
# What a GPU is to show, in one command, on a machine where the project is installed:
#
#     bash benchmarks/gpu.sh                    # mnist-small to its end, then the guard
#     RUN=mnist bash benchmarks/gpu.sh          # another run
#     SECONDS_FOR_RUN=540 bash benchmarks/gpu.sh # end the run after so long; the same command goes on
#
# It writes to OUT (default: results/gpu): the tables and the page of the run, the run compared with the reference made on
# a CPU, the ratios of guard.py as JSON, and a log of each. It changes no setting of the GPU. Jobs share it: where NVIDIA's
# multi-process service is installed it is started for as long as the script runs, because kernels of networks as small
# as these fill a part of a GPU only.
set -u
run=${RUN:-mnist-small}
out=${OUT:-results/gpu}
limit=${SECONDS_FOR_RUN:-86400}
cores=${CORES:-$(nproc)}
python=${PYTHON:-python}
snakemake=${SNAKEMAKE:-snakemake}
mkdir -p "$out"
say() { echo "gpu.sh: $*"; }

has_cuda() {
    timeout 120 "$python" -c 'import torch; x = torch.ones(8, device="cuda"); print(torch.cuda.get_device_name(), float(x.sum()))'
}

if [ -z "${NO_MPS:-}" ] && command -v nvidia-cuda-mps-control >/dev/null; then
    folder=$(mktemp -d)
    export CUDA_MPS_PIPE_DIRECTORY=$folder/pipe CUDA_MPS_LOG_DIRECTORY=$folder/log
    mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
    nvidia-cuda-mps-control -d && trap 'echo quit | nvidia-cuda-mps-control' EXIT
    if ! has_cuda; then
        say "the multi-process service does not work here; going on without it"
        echo quit | nvidia-cuda-mps-control
        trap - EXIT
        unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
    fi
fi
has_cuda || say "no CUDA device: what runs below runs on the CPU"

started=$SECONDS
timeout --signal INT "$limit" "$snakemake" "$run" --cores "$cores" --resources gpu="$cores" 2>&1 | tee "$out/run.log"
finished=${PIPESTATUS[0]}
say "$run: exit status $finished after $((SECONDS - started)) s"
tar czf "$out/state.tar.gz" --exclude=samples --exclude=checkpoints --exclude='*.npz' --exclude='*.safetensors' \
    "results/$run" logs 2>/dev/null
if [ "$finished" != 0 ]; then
    say "$run is not finished; the same command goes on"
    exit "$finished"
fi
tar czf "$out/reports.tar.gz" "reports/$run"
"$python" -m diffbench compare "$run" "reports/reference/$run-cpu" 2>&1 | tee "$out/compare.log"
started=$SECONDS
"$python" benchmarks/guard.py --run "$run" --json "$out/guard.json" 2>&1 | tee "$out/guard.log"
say "guard: exit status ${PIPESTATUS[0]} after $((SECONDS - started)) s"
