"""Any camera as the policy sees it: the same frames, brought to the policy's input size."""

from dataclasses import replace

from fosp_edge.bundle.picture import Preprocessing
from fosp_edge.cameras.base import Camera, Frame
from fosp_edge.cameras.preprocess import Preprocessor


class PolicyCamera:
    """Implements `Camera` around another one; each frame is preprocessed once."""

    def __init__(self, camera: Camera, parameters: Preprocessing | None = None) -> None:
        self._camera, self._parameters = camera, parameters or Preprocessing()
        self.calibration_sha256: str | None = None
        """Of the calibration that was found for it, if any (`calib.storage.CameraRecord.place_sha256`)."""
        self.name, self.serial = camera.name, camera.serial
        self.width_px, self.height_px = self._parameters.width_px, self._parameters.height_px
        self._preprocess: Preprocessor | None = None
        self._last: Frame | None = None

    @property
    def source(self) -> Camera:
        """The camera behind, with its pictures as they are."""
        return self._camera

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to the pictures of this camera, its picture size included."""
        return replace(self._parameters, source_px=(self._camera.width_px, self._camera.height_px))

    def start(self) -> None:
        """Start the camera and prepare for its picture size. Raises CameraError, ValueError (crop)."""
        self._camera.start()
        self.serial = self._camera.serial
        self._preprocess = Preprocessor(self._parameters, self._camera.width_px, self._camera.height_px)

    def latest(self, max_age_s: float) -> Frame:
        """The newest frame, preprocessed. Raises FrameStale, CameraLost."""
        frame = self._camera.latest(max_age_s)
        if self._last is None or frame.sequence != self._last.sequence:
            if self._preprocess is None:
                self._preprocess = Preprocessor(self._parameters, self._camera.width_px, self._camera.height_px)
            self._last = replace(frame, image=self._preprocess(frame.image))
        return self._last

    def close(self) -> None:
        """Let go of the camera. Never raises."""
        self._camera.close()
