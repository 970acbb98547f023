"""A pickle may hold arrays and plain containers; whatever else it asks for, nothing of it runs."""

import os
import pickle
import subprocess
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from export.foreign.errors import ForeignCheckpointError
from export.foreign.pickles import load_arrays

DTYPES = ["f2", "f4", "f8", "<i4", ">i8", "u1", "?"]


class _Calls:
    """Pickles into a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@settings(max_examples=40)
@given(
    st.sampled_from(DTYPES).flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=3))),
    st.integers(2, 5),
    st.booleans(),
)
def test_arrays_come_back(value: np.ndarray[Any, Any], protocol: int, fortran: bool) -> None:
    value = np.asfortranarray(value) if fortran else value
    found = load_arrays(pickle.dumps({"a": [value, (value.copy(),)], "n": 3, "x": None}, protocol), "it")
    for array in (found["a"][0], found["a"][1][0]):
        np.testing.assert_array_equal(array, value)
        assert array.shape == value.shape and array.dtype == value.dtype
    assert found["n"] == 3 and found["x"] is None


def test_scalars_come_back() -> None:
    assert load_arrays(pickle.dumps([np.float32(1.5), np.int64(3)]), "it") == [1.5, 3]


def payloads(target: str) -> dict[str, Any]:
    return {
        "os.system": _Calls(os.system, f"touch {target}"),
        "subprocess": _Calls(subprocess.call, ["touch", target]),
        "eval": _Calls(eval, f"open({target!r}, 'w')"),
        "exec": _Calls(exec, f"open({target!r}, 'w')"),
        "open": _Calls(open, target, "w"),
        "getattr": _Calls(getattr, "text", "upper"),
        "numpy.save": _Calls(np.save, target, np.zeros(1)),
        "numpy.load": _Calls(np.load, target, None, True),
        "pickle in pickle": _Calls(pickle.loads, pickle.dumps(_Calls(os.system, f"touch {target}"))),
        "import": _Calls(__import__, "antigravity"),
        "a path": Path(target),
        "an ordered dict": OrderedDict(a=1),
    }


@pytest.mark.parametrize("name", list(payloads("")))
@pytest.mark.parametrize("protocol", [2, 4])
def test_gadgets_do_not_run(name: str, protocol: int, tmp_path: Path) -> None:
    target = tmp_path / "executed"
    data = pickle.dumps({"agent": {"w": np.ones(2), "b": payloads(str(target))[name]}}, protocol)
    with pytest.raises(ForeignCheckpointError, match="nothing in it was run: it asks for"):
        load_arrays(data, "evil.ckpt")
    assert not target.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch executed'\ntR.",
        b"(S'touch executed'\nios\nsystem\n.",  # INST
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__class__\x93.",  # a dotted name behind an admitted one
        b"\x80\x04\x8c\x18numpy._core.multiarray.os\x8c\x06system\x93.",
        b"\x80\x02\x82\x01.",  # extension registry
        b"\x80\x04\x8c\x01x\x51.",  # persistent id
        # Setting attributes on a class that may be named.
        b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93N}\x8c\x07__new__K\x01s\x86b.",
        b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93N}\x8c\x08__init__K\x01s\x86b.",
        # numpy.dtype('O'): elements that are objects.
        b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02O8\x85R.",
        b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)R.",
    ],
)
def test_hand_written_programs_are_refused(program: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ForeignCheckpointError):
        load_arrays(program, "evil.ckpt")
    assert not list(tmp_path.iterdir())
    assert load_arrays(pickle.dumps(np.ones(2)), "it").sum() == 2.0  # and the reader is what it was


def test_an_array_that_lies_about_its_size_is_refused() -> None:
    data = pickle.dumps(np.arange(4, dtype=np.float32), 4)
    for lie in (data.replace(b"K\x04\x85", b"K\x05\x85"), data.replace(b"K\x04\x85", b"J\xff\xff\xff\xff\x85")):
        assert lie != data
        with pytest.raises(ForeignCheckpointError, match="nothing in it was run"):
            load_arrays(lie, "it")


@settings(max_examples=60)
@given(st.data())
def test_damage_is_a_sentence(data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps({"agent": {"a": np.arange(6.0), "b": (1, "x")}}, 4))
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        load_arrays(bytes(whole), "it")
    except ForeignCheckpointError as error:
        assert "it" in str(error)
