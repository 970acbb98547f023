#!/bin/sh
# How the shipped agent was made and measured. Its stages were run one by one while the code was still moving (the critics
# followed pictures, not yet latents computed once), so a run of this script differs from it in its noise.
# Run from a checkout with the package installed: pip install -e '.[simulation,visualisation,learning,export]'
set -eu
export OMP_NUM_THREADS=1

# Data: the mixture of safe, unsafe and random behaviour, and as many careful demonstrations.
fosp-edge data collect data/safereach --episodes 1000
fosp-edge data collect data/careful --behaviour careful --seed 200000 --episodes 1000

# World model on the mixture; critics and reachability on both data sets with the world model as it is; then the policy
# alone, towards the weights that the finished critics give.
fosp-edge train --dataset data/safereach --preset nano --camera fixed --threads 1 --updates 3054
fosp-edge train --dataset data/safereach --dataset data/careful --preset nano --camera fixed --threads 1 \
    --world-model runs/train/nano-fosp-s0 --run runs/train/critics --updates 1700
fosp-edge train --dataset data/safereach --dataset data/careful --preset nano --camera fixed --threads 1 \
    --world-model runs/train/critics --critics --run runs/train/safereach-nano --updates 3000

# Behaviour cloning on the same data and the same latents, to compare with.
fosp-edge train --dataset data/safereach --dataset data/careful --preset nano --method bc --camera fixed --threads 1 \
    --world-model runs/train/nano-fosp-s0 --run runs/train/bc --updates 1000 --set horizon=0

fosp-edge export runs/train/safereach-nano --dataset data/safereach --miss-rate 0.2 --out bundles/fosp
fosp-edge export runs/train/bc --dataset data/safereach --out bundles/bc

fosp-edge eval --bundle bundles/fosp/* --bundle bundles/bc/* --without-filter --random --episodes 100 \
    --out experiments/results/safereach-standard
fosp-edge eval --bundle bundles/fosp/* --without-filter --scenario all --episodes 30 \
    --out experiments/results/safereach-families
