#!/usr/bin/env bash
# What a GPU makes of the project, in order of worth: the first ten minutes tell most.
#
#     uv run --extra cuda benchmarks/gpu.sh FOLDER [MINUTES [PRESET]]
#
# A piece has a time limit of its own, below in seconds where MINUTES is 10, and what it prints is in FOLDER/PIECE.txt as
# it comes; figures are in FOLDER/bench.parquet. After MINUTES (10) the script stops. Called again, it goes on: with the
# pieces that were not reached, and then with the training, from its saved state. PRESET (final_classic_ucl), of configs/
# or a path, has the sizes. FOLDER/pieces.txt says how each piece ended; delete a line of it to repeat the piece.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
minutes=${2:-10}
preset=${3:-final_classic_ucl}
[ -f "$preset" ] && preset=$(realpath "$preset")
mkdir -p "${1:?name a folder for the results}"
cd "$1" || exit 2
touch pieces.txt
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
end=$((SECONDS + 60 * minutes))
complete=1

if command -v nvidia-smi > /dev/null; then
  nvidia-smi --query-gpu=timestamp,utilization.gpu,utilization.memory,memory.used \
    --format=csv,noheader,nounits -l 5 >> utilisation.csv &
  trap 'kill %1' EXIT
fi

piece() { # NAME SECONDS COMMAND ...
  local name=$1 limit=$(($2 * minutes / 10)) began=$SECONDS left=$((end - SECONDS)) status
  shift 2
  grep -q "^$name: " pieces.txt && return
  if [ "$left" -lt 15 ]; then
    complete=0
    return
  fi
  echo "--- $name"
  timeout -k 20 "$((left < limit ? left : limit))" "$@" 2>&1 | tee "$name.txt"
  status=${PIPESTATUS[0]}
  # 75: a training whose time was over has saved its state; 124: the limit was reached.
  if [ "$status" = 75 ] || { [ "$status" = 124 ] && [ "$left" -le "$limit" ]; }; then
    complete=0
    return
  fi
  echo "$name: exit status $status after $((SECONDS - began)) s" >> pieces.txt
}

bench() { # PIECE SECONDS FILE ARGUMENTS ...
  piece "$1" "$2" python -m benchmarks.bench --config "$preset" --output "$3" "${@:4}"
}

software='import jax; print(jax.__version__, jax.devices(), jax.devices()[0].client.platform_version)'
piece device 60 python -c "$software"
# Does a run repeat bit for bit, does that need the flag, and what does the flag cost?
piece repeats-gradient 240 python "$root/benchmarks/repeats.py" gradient --config "$preset" --processes 2 \
  --compute_dtype bfloat16
# Rates, and shares of what the device reaches in products and copies.
bench gradient-bfloat16 150 bench.parquet gradient --compute_dtype bfloat16
bench gradient-float32 150 float32.parquet gradient
piece bfloat16-gains 60 python -m benchmarks.bench --compare float32.parquet bench.parquet
bench env_step 180 bench.parquet env_step
bench ppo 300 bench.parquet ppo
bench inference 240 bench.parquet inference --compute_dtype bfloat16
# Do loops within CUDA graphs save launches?
XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_enable_command_buffer=+WHILE" bench env_step-graphs 180 graphs.parquet env_step
piece graphs-gain 60 python -m benchmarks.bench --compare bench.parquet graphs.parquet
piece repeats-ppo 600 python "$root/benchmarks/repeats.py" ppo --config "$preset" --processes 2
piece trace-gradient 240 python -m benchmarks.bench --config "$preset" gradient --compute_dtype bfloat16 --repeats 2 \
  --trace trace
# The expert, in as many calls as it takes. It saves its state a minute before the time is over.
left=$((end > SECONDS ? end - SECONDS : 1))
limit=$(awk "BEGIN { print ($left > 120 ? $left - 60 : $left / 2) / 60 }")
piece train 1000000 python -m remdm.cli ppo --config "$preset" --seed 0 --no-use-wandb --output ppo \
  --time_limit_minutes "$limit"

[ -s utilisation.csv ] && awk -F, '{ sum += $2; n++ } END { printf "mean utilisation %.0f %% of %d samples\n", sum / n, n }' utilisation.csv
cat pieces.txt
if [ "$complete" = 0 ]; then
  echo "call again to go on"
  exit 75
fi
! grep -qv "exit status 0 " pieces.txt
