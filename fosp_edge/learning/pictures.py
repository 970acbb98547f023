"""Pictures of what was learnt, as uint8 arrays [H, W, 3]: what the model sees, foresees and fears."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fosp_edge.agent.distributions import open_uniform
from fosp_edge.agent.rssm import Latent
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.learner import Learner
from fosp_edge.learning.samplers import Sampler

Picture = npt.NDArray[np.uint8]
CONTEXT = 5
"""Frames seen before the model goes on alone."""
_SEQUENCES, _FRAMES, _BINS, _PIXELS = 3, 12, 24, 8


class ImageWriter(Protocol):
    """What is used of TensorBoard's SummaryWriter."""

    def add_image(self, tag: str, img_tensor: Picture, global_step: int, *, dataformats: str) -> None: ...  # noqa: D102


class Illustrator:
    """Writes pictures of held-out sequences: reconstructions, open-loop predictions, reachability.

    Args:
        learner: what is looked at; its random state is left alone.
        sampler: of held-out sequences, with images.
        writer: where the pictures go.
        plane: two components of the state that are positions in the scene, for the map; None draws no map.
    """

    def __init__(
        self, learner: Learner, sampler: Sampler, writer: ImageWriter, plane: tuple[int, int] | None = None
    ) -> None:
        self._learner, self._writer, self._plane = learner, writer, plane
        self._batch = Batch.from_numpy(sampler.sample(), learner.device)

    @torch.no_grad()
    def __call__(self, update: int) -> None:
        """Draw the same sequences as before with what was learnt since."""
        batch, learner = self._batch, self._learner
        kept = learner.generator.get_state()
        latents = learner.observe(batch)[0]
        learner.generator.set_state(kept)
        pictures = {
            "reconstruction": beside(batch, decode(learner, latents)),
            "open_loop": beside(batch, decode(learner, foresee(learner, batch, latents))),
        }
        if learner.config.safety:
            p = torch.sigmoid(learner.agent.critics.reach_state(latents.features()).squeeze(-1))
            pictures["reachability/frames"] = with_bars(batch, p)
            if self._plane is not None:
                pictures["reachability/scene"] = scene_map(batch, p, self._plane)
        for name, picture in pictures.items():
            self._writer.add_image(name, picture, update, dataformats="HWC")


def foresee(learner: Learner, batch: Batch, latents: Latent) -> Latent:
    """Latents that see the first `CONTEXT` frames and imagine the rest from the actions alone, [B, T, ...]."""
    rssm, config = learner.agent.world_model.rssm, learner.config
    length = batch.action.shape[1]
    context = min(CONTEXT, length)
    hidden = [latents.deterministic[:, step] for step in range(context)]
    drawn = [latents.stochastic[:, step] for step in range(context)]
    generator = torch.Generator(learner.device).manual_seed(0)
    for step in range(context, length):
        deterministic = rssm.transition(Latent(hidden[-1], drawn[-1]), batch.action[:, step - 1])
        prior = rssm.grid(rssm.prior(deterministic))
        noise = open_uniform(tuple(prior.shape), learner.device, generator)
        index = (prior - torch.log(-torch.log(noise))).argmax(-1)
        hidden.append(deterministic)
        drawn.append(torch.nn.functional.one_hot(index, config.classes).float())
    return Latent(torch.stack(hidden, 1), torch.stack(drawn, 1))


def decode(learner: Learner, latents: Latent) -> Tensor:
    """Pictures of latents, float in [0, 1], [B, T, H, W, C]; only those that `beside` shows."""
    features = latents.features()[:_SEQUENCES, :_FRAMES]
    pictures = learner.agent.world_model.decoder(features.flatten(0, 1))[0] + 0.5
    shown: Tensor = pictures.permute(0, 2, 3, 1).unflatten(0, features.shape[:2]).clamp(0.0, 1.0)
    return shown


def beside(batch: Batch, predicted: Tensor) -> Picture:
    """Three rows per sequence and camera: what was, what the model says, and the difference around grey."""
    truth = batch.image[:_SEQUENCES, :_FRAMES].float() / 255.0
    rows = []
    for sequence in range(truth.shape[0]):
        for camera in range(truth.shape[-1] // 3):
            channels = slice(3 * camera, 3 * camera + 3)
            was, says = truth[sequence, ..., channels], predicted[sequence, ..., channels]
            rows += [_strip(was), _strip(says), _strip((says - was) / 2.0 + 0.5)]
    return _bytes(torch.cat(rows))


def with_bars(batch: Batch, reachability: Tensor) -> Picture:
    """Frames of the first camera; above each a bar for p (green to red), below one where the constraint is violated."""
    rows = []
    for sequence in range(min(_SEQUENCES, batch.image.shape[0])):
        frames = batch.image[sequence, :_FRAMES, ..., :3].float() / 255.0
        count, _, width, _ = frames.shape
        bars = _colour(reachability[sequence, :count])[:, None, None].expand(count, _PIXELS, width, 3)
        marks = batch.violation[sequence, :count, None, None, None] * torch.tensor(
            [1.0, 0.0, 1.0], device=frames.device
        )
        rows.append(_strip(torch.cat([bars, frames, marks.expand(count, _PIXELS // 2, width, 3)], 1)))
    return _bytes(torch.cat(rows))


def scene_map(batch: Batch, reachability: Tensor, plane: tuple[int, int]) -> Picture:
    """Mean p where the robot was, over two components of its state; grey where it never was in these sequences."""
    x, y = (batch.state[..., axis].flatten().cpu() for axis in plane)
    p = reachability.flatten().cpu()

    def place(values: Tensor) -> Tensor:
        low, high = values.min(), values.max()
        return ((values - low) / (high - low).clamp(min=1e-6) * (_BINS - 1)).round().long()

    index = place(y) * _BINS + place(x)
    total = torch.zeros(_BINS * _BINS).index_add(0, index, p)
    count = torch.zeros(_BINS * _BINS).index_add(0, index, torch.ones_like(p))
    colours = torch.where((count > 0)[:, None], _colour(total / count.clamp(min=1.0)), torch.tensor(0.5))
    grid = colours.reshape(_BINS, _BINS, 3).flip(0)
    return _bytes(grid.repeat_interleave(_PIXELS, 0).repeat_interleave(_PIXELS, 1))


def _colour(p: Tensor) -> Tensor:
    """Green for 0, yellow for one half, red for 1; [...] -> [..., 3]."""
    return torch.stack([(2.0 * p).clamp(max=1.0), (2.0 - 2.0 * p).clamp(max=1.0), torch.zeros_like(p)], -1)


def _strip(frames: Tensor) -> Tensor:
    """[N, H, W, 3] -> [H, N * W, 3]."""
    return frames.permute(1, 0, 2, 3).flatten(1, 2)


def _bytes(picture: Tensor) -> Picture:
    result: Picture = (picture.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy()
    return result
