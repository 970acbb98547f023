#!/bin/sh
# How the shipped agent was made and measured, in an hour and a half on one busy core.
# Run from a checkout with the package installed: pip install -e '.[simulation,visualisation,learning,export]'
set -eu
export OMP_NUM_THREADS=1
# The allocator keeps what it has instead of asking the kernel for it at every update: a quarter faster.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 GLIBC_TUNABLES=glibc.malloc.hugetlb=1

# Data: the mixture of safe, unsafe and random behaviour, and careful demonstrations.
fosp-edge data collect data/mixture --episodes 3000
fosp-edge data collect data/careful --behaviour careful --seed 200000 --episodes 2000
data="--dataset data/mixture --dataset data/careful --preset nano --camera fixed --threads 1"

# The world model on all of it; critics and reachability from the data alone, on latents computed once; then the policy
# alone, towards the weights that the finished critics give. Short windows show many tables per update.
fosp-edge train $data --run runs/train/world-model --updates 9000 --set behaviour_from=9000 --set model_until=9000 \
    --set model_final_rate=0.05 --set batch_size=24 --set batch_length=12
fosp-edge train $data --world-model runs/train/world-model --run runs/train/critics --updates 9000 --set horizon=0 \
    --set batch_size=10 --set slow_rate=0.05 --set slow_regulariser=0.2 \
    --set feasible_cost_weight=1.5 --set feasible_reachability=0.15
