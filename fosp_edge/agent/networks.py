"""Building blocks: dense layers with LayerNorm and SiLU, the image encoder and its mirror."""

import itertools
import warnings

import torch
from torch import Tensor, nn

from fosp_edge.agent.config import Config
from fosp_edge.agent.distributions import symlog
from fosp_edge.agent.features import Features, linear


def norm(width: int, config: Config) -> nn.LayerNorm | nn.RMSNorm:
    """The agent's kind of norm over the last axis."""
    kind = nn.RMSNorm if config.norm == "rms" else nn.LayerNorm
    return kind(width, eps=config.norm_epsilon)


def dense(inputs: int, outputs: int, layers: int, config: Config) -> list[nn.Module]:
    """`layers` times linear, norm, SiLU; the linear maps carry no bias if the norm has one."""
    modules: list[nn.Module] = []
    for index in range(layers):
        linear = nn.Linear(inputs if index == 0 else outputs, outputs, bias=config.dense_bias)
        modules += [linear, norm(outputs, config), nn.SiLU()]
    return modules


class Head(nn.Sequential):
    """Hidden layers and a linear output; `zero` starts the output at zero, as critics and reward heads want it."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        config: Config,
        *,
        zero: bool = False,
        layers: int | None = None,
        width: int | None = None,
    ) -> None:
        layers, width = layers or config.head_layers, width or config.hidden
        final = nn.Linear(width, outputs)
        if zero:
            nn.init.zeros_(final.weight)
            nn.init.zeros_(final.bias)
        super().__init__(*dense(inputs, width, layers, config), final)

    def forward(self, features: Features) -> Tensor:
        """[..., inputs] -> [..., outputs], float32 even where products are not: losses and sigmoids need the digits."""
        made: Tensor = self.output(self.hidden(features))
        return made.float()

    def hidden(self, features: Features) -> Tensor:
        """What the last layer gets."""
        first, *others, _ = self
        assert isinstance(first, nn.Linear)
        output = linear(first, features)
        for layer in others:
            output = layer(output)
        return output

    @property
    def output(self) -> nn.Linear:
        """The last layer."""
        final = self[-1]
        assert isinstance(final, nn.Linear)
        return final


class ChannelNorm(nn.Module):
    """A norm over the channels of an image, [N, C, H, W]."""

    def __init__(self, channels: int, config: Config) -> None:
        super().__init__()
        self.norm = norm(channels, config)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel's channels."""
        normalised: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return normalised.permute(0, 3, 1, 2)


class Encoder(nn.Module):
    """Image and state to one feature vector.

    Four convolutions that each halve the picture take 64x64 to 4x4; the state goes through one dense layer after being
    brought to zero mean and unit deviation with statistics of the data set. (The paper uses symlog for vectors; joint
    angles and positions in metres differ so little after it that a centimetre is lost in the noise of the first layer.)
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._symlog = config.state_scaling == "symlog"
        depths = [config.conv_depth * multiple for multiple in config.conv_multiples]
        kernel, stride = config.conv_kernel, 1 if config.conv_pooling else 2
        layers: list[nn.Module] = []
        for before, after in zip([config.image_channels, *depths[:-1]], depths, strict=True):
            layers.append(nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2, bias=config.dense_bias))
            layers += [nn.MaxPool2d(2)] if config.conv_pooling else []
            layers += [ChannelNorm(after, config), nn.SiLU()]
        self.image = nn.Sequential(*layers)
        width = config.state_units or config.hidden
        layers_of_state = config.state_layers if config.state_size else 0  # a robot may have nothing but cameras
        self.state = nn.Sequential(*dense(config.state_size, width, layers_of_state, config))
        self.state_mean: Tensor
        self.state_deviation: Tensor
        self.register_buffer("state_mean", torch.zeros(config.state_size))
        self.register_buffer("state_deviation", torch.ones(config.state_size))
        self.output_size = depths[-1] * 16 + (width if layers_of_state else 0)

    def set_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Mean and standard deviation of the state in the data, each [S]; a constant component is not blown up."""
        self.state_mean.copy_(mean)
        self.state_deviation.copy_(deviation.clamp(min=0.01))

    def forward(self, image: Tensor, state: Tensor) -> Tensor:
        """uint8 [N, H, W, C] and float [N, S] -> [N, output_size]."""
        embedding: Tensor = self.image(image.permute(0, 3, 1, 2).float() / 255.0 - 0.5).flatten(1)
        if not len(self.state):
            return embedding
        normalised = symlog(state) if self._symlog else (state - self.state_mean) / self.state_deviation
        return torch.cat([embedding, self.state(normalised)], -1)


class Decoder(nn.Module):
    """Latent features back to pictures (in [-0.5, 0.5]) and the normalised state."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        depths = [config.conv_depth * 2**index for index in (3, 2, 1, 0)]
        self._start = depths[0]
        self.dense = nn.Linear(config.feature_size, depths[0] * 16)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(depths):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), ChannelNorm(after, config), nn.SiLU()]
        layers.append(nn.ConvTranspose2d(depths[-1], config.image_channels, 4, 2, 1))
        self.image = nn.Sequential(*layers)
        with warnings.catch_warnings():  # a robot without a state vector has a head without outputs, and torch says so
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            self.state = Head(config.feature_size, config.state_size, config)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """[N, F] -> pictures [N, C, 64, 64], states [N, S]."""
        start = linear(self.dense, features).reshape(-1, self._start, 4, 4)
        return self.image(start), self.state(features)
