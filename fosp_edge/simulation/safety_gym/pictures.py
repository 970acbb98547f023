"""Pictures of a MuJoCo scene without a display, whatever was imported before.

`mujoco.Renderer` draws by what the environment variable MUJOCO_GL said when MuJoCo was first imported, which may have
been long ago and for physics alone. Here it is read when the first picture is asked for; `osmesa`, which every machine
can have, is the default, `egl` is faster where a GPU is.
"""

import importlib
import os
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

_PLATFORMS = ("osmesa", "egl")
_MOST_SHAPES = 1000


class PicturesError(RuntimeError):
    """No picture can be drawn on this machine; the message says what is missing."""


class Pictures:
    """Draws square pictures of models that share their textures and meshes.

    Args:
        model: the first of them.
        pixels: width and height.

    Raises:
        PicturesError: no renderer of that kind can be had.
    """

    def __init__(self, model: Any, pixels: int) -> None:
        platform = os.environ.get("MUJOCO_GL") or _PLATFORMS[0]
        if platform not in _PLATFORMS:
            raise PicturesError(f"MUJOCO_GL={platform}: expected one of {', '.join(_PLATFORMS)}, or nothing")
        # The buffer that is drawn into, and resolved for every picture, is no larger than the picture.
        model.vis.global_.offwidth = model.vis.global_.offheight = pixels
        try:
            self._gl = importlib.import_module(f"mujoco.{platform}").GLContext(pixels, pixels)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
        except (ImportError, AttributeError, OSError, RuntimeError, mujoco.FatalError) as error:
            package = "libosmesa6" if platform == "osmesa" else "libegl1"
            raise PicturesError(
                f"no pictures can be drawn with {platform} ({error}); on Debian and Ubuntu: apt install {package}"
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._viewport = mujoco.MjrRect(0, 0, pixels, pixels)
        self._pixels = np.zeros((pixels, pixels, 3), np.uint8)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 1  # nothing that belongs to a task is hidden
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self.show(model)

    def show(self, model: Any) -> None:
        """Another model from now on."""
        self._model, self._scene = model, mujoco.MjvScene(model, _MOST_SHAPES)

    def draw(self, data: Any, camera: str) -> npt.NDArray[np.uint8]:
        """What a camera of the model sees, RGB [pixels, pixels, 3]."""
        self._gl.make_current()
        self._camera.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._viewport, self._context)
        return np.array(self._pixels[::-1])

    def close(self) -> None:
        """Give the context back."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()
