"""Pictures for people: right sizes, right places, and the learner is not disturbed by being looked at."""

import numpy as np
import torch

from fosp_edge.learning.learner import make_learner
from fosp_edge.learning.pictures import CONTEXT, Illustrator, beside, foresee, scene_map, with_bars
from tests.agent.sizes import tiny_config
from tests.learning.batches import CPU, MadeUpSampler, make_batch


class Album:
    def __init__(self) -> None:
        self.pictures: dict[str, np.ndarray] = {}

    def add_image(self, tag: str, img_tensor: np.ndarray, global_step: int, *, dataformats: str) -> None:
        assert dataformats == "HWC" and img_tensor.dtype == np.uint8 and global_step == 7
        self.pictures[tag] = img_tensor


def test_all_pictures_are_drawn_and_learning_goes_on_as_if_nobody_had_looked() -> None:
    config = tiny_config()
    learner, other, album = make_learner(config, CPU), make_learner(config, CPU), Album()
    draw = Illustrator(learner, MadeUpSampler(config), album, (0, 1))
    draw(7)
    assert album.pictures.keys() == {"reconstruction", "open_loop", "reachability/frames", "reachability/scene"}
    # Two sequences, two cameras, three rows of six frames each.
    assert album.pictures["reconstruction"].shape == (2 * 2 * 3 * 64, 6 * 64, 3)
    learner.update(make_batch(config), 0)
    other.update(make_batch(config), 0)
    for one, two in zip(learner.agent.parameters(), other.agent.parameters(), strict=True):
        assert torch.equal(one, two)


def test_open_loop_sees_the_context_and_nothing_after_it() -> None:
    config = tiny_config(batch_length=9)
    learner = make_learner(config, CPU)
    batch = make_batch(config)
    with torch.no_grad():
        latents = learner.observe(batch)[0]
        one = foresee(learner, batch, latents)
        latents.stochastic[:, CONTEXT:] = 0.0
        latents.deterministic[:, CONTEXT:] = 0.0
        two = foresee(learner, batch, latents)
    assert torch.equal(one.features(), two.features())
    assert torch.equal(one.features()[:, :CONTEXT], latents.features()[:, :CONTEXT])
    assert one.features().shape == latents.features().shape


def test_the_difference_is_grey_where_the_model_is_right() -> None:
    batch = make_batch(tiny_config())
    picture = beside(batch, batch.image.float() / 255.0)
    assert np.array_equal(picture[:64], picture[64:128]) and (picture[128:192] == 128).all()


def test_danger_is_red_and_stands_where_the_robot_was() -> None:
    batch = make_batch(tiny_config())
    batch.state[..., 0] = torch.linspace(0, 1, 6)
    batch.state[..., 1] = torch.linspace(0, 1, 6)
    p = torch.linspace(0, 1, 6).expand(2, 6)
    picture = scene_map(batch, p, (0, 1))
    assert tuple(picture[0, -1]) == (255, 0, 0) and tuple(picture[-1, 0]) == (0, 255, 0)  # y points up
    assert tuple(picture[0, 0]) == (128, 128, 128)
    bars = with_bars(batch, p)
    assert tuple(bars[0, 0]) == (0, 255, 0) and tuple(bars[0, -1]) == (255, 0, 0)
