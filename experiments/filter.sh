#!/bin/sh
# Everything that is claimed of the safety filter, measured anew for one bundle:
#     experiments/filter.sh BUNDLE [WORK] [EPISODES]
# Collects the bundle's own unfiltered episodes, calibrates filter and gate into WORK/bundles, and writes
# experiments/results/filter_*.json/png, gate_faults.json and docs/images/filter-margin.png. PYTHON names the interpreter.
set -eu
bundle=$1
work=${2:-runs/filter}
episodes=${3:-120}
python=${PYTHON:-python}
results=${RESULTS:-experiments/results}
images=${IMAGES:-docs/images}
export OMP_NUM_THREADS=1
fosp() { "$python" -m fosp_edge.cli "$@"; }

mkdir -p "$work"
fosp data collect "$work/own" --bundle "$bundle" --seed 300000 --episodes 600
fosp data collect "$work/scripted" --seed 500000 --episodes 500
rm -rf "$work/bundles"
fosp calibrate-filter "$bundle" --dataset "$work/own" --miss-rate "${MISS_RATE:-0.05}" --out "$work/bundles"
calibrated=$(ls -d "$work"/bundles/*)
fosp data collect "$work/filtered" --bundle "$calibrated" --with-filter --seed 600000 --episodes 300

"$python" -m experiments.filter_conformal --bundle "$bundle" --own "$work/own" --scripted "$work/scripted" \
    --filtered "$work/filtered" --out "$results/filter_conformal"
"$python" -m experiments.gate_faults --bundle "$calibrated" --own "$work/own" --out "$results/gate_faults.json"
"$python" -m experiments.filter_lookahead --bundle "$bundle" --own "$work/own" --out "$results/filter_lookahead.json"
rm -rf "$work/ahead"
fosp calibrate-filter "$bundle" --dataset "$work/own" --miss-rate "${MISS_RATE:-0.05}" --look-ahead --out "$work/ahead"
fosp eval --bundle "$calibrated" --bundle "$(ls -d "$work"/ahead/*)" --scenario standard --scenario obstacle-shape \
    --scenario goal-shape --scenario obstacle-count --episodes 150 --seed 4000 --out "$results/filter_lookahead_closed"
rm -f "$results/filter_lookahead_closed.png"
fosp eval-filter --bundle "$calibrated" --episodes "$episodes" --ensemble-dataset "$work/scripted" \
    --out "$results/filter_families"
rm -f "$results"/ensemble-*.safetensors
"$python" -m experiments.filter_margin --bundle "$calibrated" --out "$images/filter-margin.png"
echo "calibrated bundle: $calibrated"
