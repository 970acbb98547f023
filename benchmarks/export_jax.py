"""The same step in JAX under jit, with random weights: `python export_jax.py CONFIG_JSON ROUNDS`. Needs jax alone.

Written as JAX code of this family writes it (one-hot states, heads one after the other), for comparing latencies only.
"""

import itertools
import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

CONFIG, ROUNDS = json.loads(sys.argv[1]), int(sys.argv[2])
D, G, K, H = (CONFIG[name] for name in ("deterministic", "groups", "classes", "hidden"))
A, S, C, BINS, LAYERS = (
    CONFIG[name] for name in ("action_size", "state_size", "image_channels", "bins", "head_layers")
)
DEPTHS = [CONFIG["conv_depth"] * 2**index for index in range(4)]
SAMPLES = 6


def weights():
    random = np.random.default_rng(0)

    def matrix(rows, columns):
        return jnp.asarray(random.standard_normal((rows, columns)) / np.sqrt(rows), jnp.float32)

    def head(inputs, outputs):
        sizes = [inputs, *[H] * LAYERS]
        return [matrix(a, b) for a, b in itertools.pairwise(sizes)] + [matrix(H, outputs)]

    stochastic, embedding = G * K, DEPTHS[-1] * 16 + H
    convolutions = [
        jnp.asarray(random.standard_normal((4, 4, a, b)) * 0.1, jnp.float32)
        for a, b in itertools.pairwise([C, *DEPTHS])
    ]
    return {
        "conv": convolutions,
        "state": matrix(S, H),
        "input": matrix(stochastic + A, H),
        "gru": matrix(H + D, 3 * D),
        "prior": [matrix(D, H), matrix(H, stochastic)],
        "posterior": [matrix(D + embedding, H), matrix(H, stochastic)],
        "policy": head(D + stochastic, 2 * A),
        "scores": [head(D + stochastic + A, outputs) for outputs in (BINS, BINS, 1)],
        "reach_state": head(D + stochastic, 1),
    }


def norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def mlp(layers, x):
    for layer in layers[:-1]:
        x = jax.nn.silu(norm(x @ layer))
    return x @ layers[-1]


def grid(logits):
    return jnp.log(0.99 * jax.nn.softmax(logits.reshape(1, G, K), -1) + 0.01 / K)


@jax.jit
def step(w, image, state, action, deterministic, stochastic, latent_noise, action_noise):
    x = image.astype(jnp.float32) / 255.0 - 0.5
    for kernel in w["conv"]:
        x = jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.silu(norm(x))
    embedding = jnp.concatenate([x.reshape(1, -1), jax.nn.silu(norm(state @ w["state"]))], -1)
    one_hot = jax.nn.one_hot(stochastic, K).reshape(1, -1)
    hidden = jax.nn.silu(norm(jnp.concatenate([one_hot, action], -1) @ w["input"]))
    parts = norm(jnp.concatenate([hidden, deterministic], -1) @ w["gru"])
    reset, candidate, update = jnp.split(parts, 3, -1)
    update = jax.nn.sigmoid(update - 1.0)
    h = update * jnp.tanh(jax.nn.sigmoid(reset) * candidate) + (1.0 - update) * deterministic
    posterior = grid(mlp(w["posterior"], jnp.concatenate([h, embedding], -1)))
    prior = grid(mlp(w["prior"], h))
    index = (posterior - jnp.log(-jnp.log(latent_noise))).argmax(-1)
    surprise = (jnp.exp(posterior) * (posterior - prior)).sum((-2, -1))
    features = jnp.concatenate([h, jax.nn.one_hot(index, K).reshape(1, -1)], -1)
    mean, spread = jnp.split(mlp(w["policy"], features), 2, -1)
    mean, deviation = jnp.tanh(mean), 0.1 + 0.9 * jax.nn.sigmoid(spread + 2.0)
    samples = jnp.clip(mean + deviation * action_noise, -1.0, 1.0)
    candidates = jnp.concatenate([mean, samples, jnp.zeros_like(mean), -action])
    pair = jnp.concatenate([jnp.repeat(features, len(candidates), 0), candidates], -1)
    reward, cost, reach = (mlp(head, pair) for head in w["scores"])
    centres = jnp.linspace(-20.0, 20.0, BINS)
    values = [(jax.nn.softmax(logits, -1) * centres).sum(-1) for logits in (reward, cost)]
    values = [jnp.sign(value) * jnp.expm1(jnp.abs(value)) for value in values]
    state_reach = jax.nn.sigmoid(mlp(w["reach_state"], features))
    return h, index, candidates, *values, jax.nn.sigmoid(reach), state_reach, surprise


def main():
    w, random = weights(), np.random.default_rng(1)
    h, s = jnp.zeros((1, D)), jnp.zeros((1, G), jnp.int32)
    seconds = []
    for _ in range(ROUNDS + 5):
        image = random.integers(0, 256, (1, 64, 64, C)).astype(np.uint8)
        state, action = np.zeros((1, S), np.float32), np.zeros((1, A), np.float32)
        uniform = random.uniform(1e-6, 1 - 1e-6, (1, G, K)).astype(np.float32)
        normal = random.standard_normal((SAMPLES, A)).astype(np.float32)
        begin = time.perf_counter()
        outputs = step(w, image, state, action, h, s, uniform, normal)
        [np.asarray(output) for output in outputs]
        seconds.append(time.perf_counter() - begin)
        h, s = outputs[0], outputs[1].astype(jnp.int32)
    tenth, median, p99 = np.quantile(seconds[5:], [0.1, 0.5, 0.99]) * 1e3
    figures = {"median_ms": median, "p10_ms": tenth, "p99_ms": p99}
    print(json.dumps({name: round(float(value), 4) for name, value in figures.items()} | {"version": jax.__version__}))


main()
