"""Pickles of arrays and plain containers, and of nothing else.

A pickle is a program, and `pickle.load` runs it. Here every name that a pickle asks for is answered by something of
this module's own, which can only hold an array; any other name ends the reading. Neither numpy's own reconstruction nor
any class of the program that wrote the file is called.
"""

import io
import pickle
import pickletools
from typing import Any

import numpy as np
import numpy.typing as npt

from export.foreign.errors import ForeignCheckpointError

_KINDS = {
    *("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "?"),
    *(
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "bool",
    ),
}


class _Sealed(type):
    """A class that a pickle cannot alter: what it may name, it may also try to set attributes on."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("it tries to alter what reads it")


class _Dtype(metaclass=_Sealed):
    """An element type: plain numbers only."""

    __slots__ = ("kind", "order")

    def __init__(self, kind: Any, *_: Any) -> None:
        if not isinstance(kind, str) or kind.lstrip("<>|=") not in _KINDS:
            raise pickle.UnpicklingError(f"an array of {kind!r}, where plain numbers are expected")
        self.kind, self.order = np.dtype(kind.lstrip("<>|=")).str[1:], "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("an element type without a byte order")
        self.order = order

    def numpy(self) -> np.dtype[Any]:
        """The element type that is meant."""
        return np.dtype(f"{self.order}{self.kind}") if self.order in "<>" else np.dtype(self.kind)


def _array(data: Any, dtype: Any, shape: Any, order: str) -> npt.NDArray[Any]:
    sizes = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
    if not sizes or not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError("an array whose description is not one")
    if len(data) != dtype.numpy().itemsize * int(np.prod(shape, dtype=object)):
        raise pickle.UnpicklingError(f"an array of shape {shape} with {len(data)} bytes")
    values: npt.NDArray[Any] = np.frombuffer(data, dtype.numpy())
    shaped: npt.NDArray[Any] = values.reshape(shape, order="F") if order == "F" else values.reshape(shape)
    return shaped


class _Array(metaclass=_Sealed):
    """An array while it is being read: made empty, then given its state."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: npt.NDArray[Any] = np.zeros(0, np.float32)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array whose state is not one")
        _, shape, dtype, fortran, data = state
        self.values = _array(data, dtype, shape, "F" if fortran else "C")


class _Opaque(tuple[Any, ...], metaclass=_Sealed):
    """What an optimiser remembers: kept as a tuple that nobody looks into."""

    def __new__(cls, *items: Any) -> "_Opaque":
        return tuple.__new__(cls, items)


class _NdarrayName(metaclass=_Sealed):
    """Stands for the name `numpy.ndarray` where it is an argument; cannot be called for anything."""

    def __new__(cls, *_: Any) -> "_NdarrayName":
        raise pickle.UnpicklingError("an array made in an unusual way")


class _Reconstruct(metaclass=_Sealed):
    """An array before its state is known."""

    def __new__(cls, kind: Any, *_: Any) -> "_Array":  # type: ignore[misc]
        if kind is not _NdarrayName:
            raise pickle.UnpicklingError("an array of a class of its own")
        return _Array()


class _FromBuffer(metaclass=_Sealed):
    """An array in one piece."""

    def __new__(cls, data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> "_Array":  # type: ignore[misc]
        array = _Array()
        array.values = _array(data, dtype, shape, str(order))
        return array


class _Scalar(metaclass=_Sealed):
    """An array without axes."""

    def __new__(cls, dtype: Any, data: Any) -> "_Array":  # type: ignore[misc]
        array = _Array()
        array.values = _array(data, dtype, (), "C")
        return array


class _Encode(metaclass=_Sealed):
    """Bytes as protocol 2 keeps them: a string of as many characters."""

    def __new__(cls, text: Any, encoding: Any = None) -> bytes:  # type: ignore[misc]
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError("bytes in an unusual encoding")
        return text.encode("latin-1")


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NdarrayName,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Encode,
}
for _core in ("numpy.core", "numpy._core"):  # before numpy 2, and since
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _Reconstruct
    _NAMES[f"{_core}.multiarray", "scalar"] = _Scalar
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _FromBuffer
for _module, _name in (
    ("optax._src.base", "EmptyState"),
    ("optax._src.transform", "ScaleByAdamState"),
    ("optax._src.transform", "ScaleState"),
    ("optax._src.transform", "AddDecayedWeightsState"),
    ("optax._src.transform", "ScaleByScheduleState"),
    ("optax._src.wrappers", "ApplyIfFiniteState"),
    ("optax.transforms._conditionality", "ApplyIfFiniteState"),
    ("optax._src.schedule", "InjectHyperparamsState"),
    ("optax.schedules._inject", "InjectStatefulHyperparamsState"),
):
    _NAMES[_module, _name] = _Opaque


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """One of the names above. Raises UnpicklingError for any other; nothing is ever imported."""
        try:
            return _NAMES[module, name]
        except (KeyError, TypeError):
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and is allowed arrays only") from None

    def persistent_load(self, pid: Any) -> Any:
        """Raises UnpicklingError: what a pickle keeps elsewhere stays there."""
        raise pickle.UnpicklingError("it refers to something outside of the file")


def load_arrays(data: bytes, name: str) -> Any:
    """The content of a pickle: dicts, lists, tuples, numbers, strings, arrays.

    Raises:
        ForeignCheckpointError: truncated, not a pickle, or it asks for anything that is not an array.
    """
    try:
        _check_memo(data)
        return _plain(_Unpickler(io.BytesIO(data)).load())
    except pickle.UnpicklingError as error:
        raise ForeignCheckpointError(
            f"{name} is refused and nothing in it was run: {error}. If you trust where it comes from, load it with the "
            "program that wrote it and save its arrays alone"
        ) from error
    except RecursionError as error:
        raise ForeignCheckpointError(f"{name} is refused: its containers lie too deep in one another") from error
    except Exception as error:  # a damaged pickle fails in as many ways as there are bytes
        raise ForeignCheckpointError(
            f"{name} is damaged or not a whole pickle ({type(error).__name__}: {error}); copy it again, or take an "
            "earlier checkpoint"
        ) from error


def _check_memo(data: bytes) -> None:
    """A pickle may number what it remembers as it likes, and the reader makes room for the number: up to 64 GB."""
    for operation, argument, _ in pickletools.genops(data):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > len(data):
            raise pickle.UnpicklingError(f"it remembers a {argument}th thing, with {len(data)} bytes to say")


def _plain(value: Any) -> Any:
    """Arrays out of their wrappers; whatever else stays as it is."""
    if isinstance(value, _Array):
        return value.values
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    return value
