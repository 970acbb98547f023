#!/bin/sh
# An agent for a base on two wheels, made and measured as the shipped one was (shipped_agent.sh), with less data and fewer
# updates: three quarters of an hour on two cores that had other work as well. Nothing was tuned for it.
# Run from a checkout with the package installed: pip install -e '.[simulation,visualisation,learning,export]'
set -eu
export OMP_NUM_THREADS=1
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 GLIBC_TUNABLES=glibc.malloc.hugetlb=1

fosp-edge data collect data/room-mixture --robot two-wheels --episodes 1500
fosp-edge data collect data/room-careful --robot two-wheels --behaviour careful --seed 200000 --episodes 2000
data="--dataset data/room-mixture --dataset data/room-careful --preset nano --threads 1"

fosp-edge train $data --memory-gib 6 --run runs/train/room-world --updates 5500 --set behaviour_from=5500 --set model_until=5500 \
    --set model_final_rate=0.05 --set batch_size=24 --set batch_length=12
fosp-edge train $data --world-model runs/train/room-world --run runs/train/room-critics --updates 2000 --set horizon=0 \
    --set batch_size=16 --set slow_rate=0.05 --set slow_regulariser=0.2 --set discount=0.94 \
    --set feasible_cost_weight=1.0 --set feasible_reachability=0.15
fosp-edge train --dataset data/room-careful --preset nano --threads 1 --world-model runs/train/room-critics --critics \
    --run runs/train/saferoom-nano --updates 2500 --set horizon=0 --set batch_size=24 --set discount=0.94 \
    --set inverse_temperature=12 --set feasible_cost_weight=3 --set feasible_reachability=0.1

# Behaviour cloning on the same latents: of all data, and of the demonstrations alone.
fosp-edge train $data --method bc --world-model runs/train/room-world --run runs/train/room-bc --updates 2500 \
    --set horizon=0 --set batch_size=24
fosp-edge train --dataset data/room-careful --preset nano --threads 1 --method bc --world-model runs/train/room-world \
    --run runs/train/room-bc-careful --updates 2500 --set horizon=0 --set batch_size=24

fosp-edge export runs/train/saferoom-nano --dataset data/room-mixture --miss-rate 0.1 --name saferoom-nano --out bundles/exported
fosp-edge data collect data/room-own --bundle bundles/exported/* --seed 300000 --episodes 600
fosp-edge calibrate-filter bundles/exported/* --dataset data/room-own --miss-rate 0.05 --out bundles/saferoom
fosp-edge export runs/train/room-bc --dataset data/room-mixture --storage float32 --name bc --out bundles/bc
fosp-edge export runs/train/room-bc-careful --dataset data/room-mixture --storage float32 --name bc-careful --out bundles/bc-careful

# The same filter with a fifth of the violations let go without a timely alarm, to see what the promise costs.
fosp-edge calibrate-filter bundles/exported/* --dataset data/room-own --miss-rate 0.2 --out bundles/saferoom-fifth

fosp-edge eval --bundle bundles/saferoom/* --bundle bundles/bc/* --bundle bundles/bc-careful/* --without-filter --random \
    --episodes 200 --out experiments/results/saferoom-standard
fosp-edge eval --bundle bundles/saferoom-fifth/* --episodes 200 --out experiments/results/saferoom-fifth
