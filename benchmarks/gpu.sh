#!/usr/bin/env bash
# What a GPU makes of the project: the expert's training in pieces, its utilisation, and the benchmarks.
#
#     benchmarks/gpu.sh FOLDER [MINUTES [KEYS ...]]
#
# A piece lasts MINUTES (9) and ends with its state saved; called again, the script goes on from there.
# KEYS are flags of `remdm ppo`; the default is PPO-RNN on Classic with 1024 environments. After it, every case
# of `python -m benchmarks.bench` is measured with the planner of 9M parameters, in float32 and in bfloat16, and profiled.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:?name a folder for the results}"
cd "$1"
minutes=${2:-9}
export PYTHONPATH=$root

if command -v nvidia-smi > /dev/null; then
  nvidia-smi --query-gpu=timestamp,utilization.gpu,utilization.memory,memory.used \
    --format=csv,noheader,nounits -l 5 >> utilisation.csv &
  trap 'kill %1' EXIT
fi

# 75 means: out of time, the state is saved.
python -m remdm.cli ppo --seed 0 --no-use-wandb --output ppo --time_limit_minutes "$minutes" "${@:3}" 2>&1 | tee -a ppo.log
status=${PIPESTATUS[0]}
if [ "$status" = 75 ]; then
  echo "call again to go on"
elif [ "$status" = 0 ]; then
  python "$root/benchmarks/ppo.py" --config paper 2>&1 | tee ppo.txt
  python "$root/benchmarks/resets.py" --games classic 2>&1 | tee resets.txt
  python "$root/benchmarks/inference.py" 2>&1 | tee inference.txt
  python "$root/benchmarks/collect.py" ppo/checkpoint 2>&1 | tee collect.txt
  for stage in offline online; do
    python "$root/benchmarks/planners.py" "$stage" 2>&1 | tee "$stage.txt"
  done
  for dtype in float32 bfloat16; do
    PYTHONPATH="$root" python -m benchmarks.bench --config final_classic_ucl --compute_dtype "$dtype" --output "$dtype.parquet" 2>&1 | tee "bench-$dtype.txt"
  done
  PYTHONPATH="$root" python -m benchmarks.bench --compare float32.parquet bfloat16.parquet 2>&1 | tee compared.txt
  PYTHONPATH="$root" python -m benchmarks.bench ppo offline online sampling inference --config final_classic_ucl --compute_dtype bfloat16 \
    --repeats 2 --trace trace 2>&1 | tee trace.txt
fi
[ -s utilisation.csv ] && awk -F, '{ sum += $2; n++ } END { printf "mean utilisation %.0f %% of %d samples\n", sum / n, n }' utilisation.csv
exit "$status"
