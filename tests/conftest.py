"""One thread per numerical library: sharing small matrices among threads costs more than it gains.

State that outlives a process (a latched stop, what was measured of this machine) goes where no real robot's is.
"""

import os
import tempfile

from hypothesis import settings

settings.register_profile("busy machine", deadline=None)
settings.register_profile("emulated machine", deadline=None, max_examples=5)  # setup/aarch64.sh
settings.load_profile("busy machine")

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="fosp-edge-tests-")
os.environ["FOSP_EDGE_TUNING"] = tempfile.mkdtemp(prefix="fosp-edge-tests-")
