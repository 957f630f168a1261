"""Which names a model file may ask for: one allow-list, and how bad everything else is.

The allow-list decides. The names known to be dangerous only raise a finding from high to critical; nothing passes for
missing from them. Runs in the child process: standard library only.
"""

from __future__ import annotations

import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # the names of Python 2, as every loader translates them
from collections.abc import Collection

from genvet.core.modelfile import Standing

# --- The allow-list: module -> names. What each gives is read by our own code, or kept as an inert record.

DTYPES = (
    "float64 double float32 float float16 half bfloat16 complex32 complex64 cfloat complex128 cdouble uint8 int8 int16 "
    "short int32 int int64 long uint16 uint32 uint64 bool float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz "
    "float8_e8m0fnu"
).split()
STORAGES = (
    "DoubleStorage FloatStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage "
    "ByteStorage BoolStorage ComplexDoubleStorage ComplexFloatStorage UntypedStorage TypedStorage"
).split()
# How torch's first format calls the kinds of its tensors.
TENSORS = "DoubleTensor FloatTensor HalfTensor LongTensor IntTensor ShortTensor CharTensor ByteTensor".split()
# Quantised tensors are named, and not read.
QUANTISED = (
    "QInt8Storage QUInt8Storage QInt32Storage QUInt4x2Storage QUInt2x4Storage qint8 quint8 qint32 quint4x2 quint2x4 "
    "per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric"
).split()

_EXPECTED = {
    "builtins": "set frozenset bytearray bytes complex slice range dict list tuple int float str bool object",
    "collections": "OrderedDict defaultdict Counter deque",
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "_codecs": "encode",
    "argparse": "Namespace",
    "types": "SimpleNamespace",
    "datetime": "datetime date time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID SafeUUID",
    "pathlib": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
    "pathlib._local": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
    "torch": f"Size device Tensor {' '.join([*DTYPES, *STORAGES, *TENSORS, *QUANTISED])}",
    "torch.cuda": " ".join([*STORAGES, *TENSORS]),
    "torch.storage": "_load_from_bytes UntypedStorage TypedStorage",
    "torch.nn.parameter": "Parameter Buffer",
    "torch._tensor": "_rebuild_from_type_v2 Tensor",
    "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter "
    "_rebuild_parameter_with_state _rebuild_sparse_tensor _rebuild_qtensor _rebuild_meta_tensor_no_storage "
    "_rebuild_nested_tensor _rebuild_device_tensor_from_numpy",
    "torch.serialization": "_get_layout",
    # Activations that pickled modules name as attributes.
    "torch.nn.functional": "relu relu6 leaky_relu elu selu celu gelu silu mish softplus tanh sigmoid softmax "
    "log_softmax hardtanh normalize interpolate",
    "torch._C._nn": "gelu leaky_relu elu silu mish softplus hardtanh",
    "torch.jit._pickle": "build_intlist build_tensorlist build_doublelist build_boollist build_tensor_from_id "
    "restore_type_tag",
    "numpy": "dtype ndarray float64 float32 float16 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool_",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    # The states of random generators. The first three call what they are given: only their own classes pass (plain).
    "numpy.random._pickle": "__generator_ctor __bit_generator_ctor __randomstate_ctor",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._sfc64": "SFC64",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    # StyleGAN. The program text that comes with these is judged by files.texts.source.
    "torch_utils.persistence": "_reconstruct_persistent_obj",
    "dnnlib.util": "EasyDict",
    "dnnlib": "EasyDict",
    "dnnlib.tflib.network": "Network",
}
EXPECTED = frozenset((module, name) for module, names in _EXPECTED.items() for name in names.split())

# Only ever named, as an argument: called, they would allocate whatever they are asked for.
_NAMED_ONLY = frozenset(
    [("torch", name) for name in (*STORAGES, *TENSORS, *QUANTISED, "Tensor")]
    + [("torch.cuda", name) for name in (*STORAGES, *TENSORS)]
    + [("torch.storage", "UntypedStorage"), ("torch.storage", "TypedStorage"), ("torch._tensor", "Tensor")]
    + [(module, name) for module in ("torch.nn.functional", "torch._C._nn") for name in _EXPECTED[module].split()]
    + [("torch.nn.parameter", "Parameter"), ("torch.nn.parameter", "Buffer"), ("numpy", "ndarray")]
)

_EXPECTED_CLASSES = re.compile(
    r"torch\.nn\.(modules|utils|parallel)\.[a-z_0-9.]+ _?[A-Z]\w*"  # whole pickled modules, read as records
    r"|torch\.(ao\.)?nn\.(intrinsic|quantized|quantizable|qat|sparse)\.[a-z_0-9.]+ _?[A-Z]\w*"
    r"|torch\.distributions\.[a-z_]+ [A-Z]\w*"
    r"|torch\.optim\.[a-z_0-9.]+ [A-Z]\w*"
    r"|__torch__[\w.]* \w+"  # TorchScript's own classes: their code is in the archive, and told there
)

# --- Names of Python 2, of older and of newer numpy, by the name that the tables here use.

_MODULES = {"_pickle": "pickle", "_io": "io", "cStringIO": "io", "exceptions": "builtins"}

# --- Known to run code, reach the system or delete: critical. A trailing dot takes in all submodules.

_DANGEROUS_MODULES = (
    "os posix nt ntpath posixpath subprocess _posixsubprocess sys runpy pty shutil socket _socket ssl ctypes _ctypes "
    "importlib imp pkgutil zipimport code codeop pdb bdb cProfile profile _lsprof trace timeit doctest pydoc "
    "webbrowser pip ensurepip venv idlelib lib2to3 distutils setuptools pkg_resources asyncio multiprocessing "
    "concurrent threading _thread signal http urllib ftplib smtplib telnetlib poplib imaplib nntplib xmlrpc "
    "socketserver requests aiohttp httpx urllib3 pickle shelve marshal dill cloudpickle joblib fileinput "
    "_osx_support _aix_support _pyrepl antigravity rlcompleter fcntl resource "
    "cgitb unittest test turtledemo tkinter cffi gevent eventlet twisted invoke docker selenium pexpect paramiko sh "
    "fabric plumbum "
    "torch.utils.bottleneck torch.utils.cpp_extension torch.hub torch.jit.unsupported_tensor_ops torch.package "
    "torch.utils._config_module torch.utils.collect_env torch.utils.data.datapipes torch._dynamo torch._inductor "
    "torch.multiprocessing torch.distributed torch.testing torch.fx numpy.f2py numpy.distutils numpy.testing"
).split()
_DANGEROUS_NAMES = frozenset(
    f"{module}.{name}"
    for module, names in {
        "builtins": "eval exec compile __import__ open getattr setattr delattr globals locals vars input breakpoint "
        "apply execfile file reload memoryview type super classmethod map filter help __build_class__",
        "io": "open FileIO open_code OpenWrapper",
        "operator": "attrgetter methodcaller itemgetter call",
        "_operator": "attrgetter methodcaller itemgetter call",
        "functools": "partial reduce partialmethod",
        "_functools": "partial reduce",
        "types": "CodeType FunctionType LambdaType ModuleType MethodType",
        "uuid": "_get_command_stdout _popen",
        "logging.config": "fileConfig dictConfig listen",
        "linecache": "getline getlines updatecache",
        "codecs": "open",
        "torch": "load save compile",
        "torch.jit": "load script trace",
        "torch.serialization": "load add_safe_globals",
        "torch._C": "import_ir_module _import_ir_module_from_package",
        "numpy": "load save fromfile loadtxt genfromtxt memmap DataSource",
        "numpy.core.multiarray": "fromfile",
        "pandas": "read_pickle eval",
        "pandas.io.pickle": "read_pickle",
        "copyreg": "add_extension pickle",
    }.items()
    for name in names.split()
)

# Classes that run what they are made with, by whatever module's name they are reached: psutil.Popen, billiard.Process.
_DANGEROUS_CLASSES = frozenset(
    "Popen CDLL PyDLL WinDLL OleDLL FileIO FunctionType LambdaType MethodType CodeType ModuleType Unpickler "
    "InteractiveConsole InteractiveInterpreter SourceFileLoader ExtensionFileLoader SourcelessFileLoader Process "
    "Thread Timer ThreadPool ProcessPoolExecutor ThreadPoolExecutor DataSource NpzFile LuaRuntime".split()
)

# --- Not the file's own code: what these hold beyond the allow-list is high even where it looks like a class.

_KNOWN_PACKAGES = frozenset(
    "torch torchvision torchaudio numpy scipy sklearn pandas PIL matplotlib joblib dill cloudpickle requests yaml "
    "jinja2 tensorflow keras jax flax transformers diffusers IPython ipykernel jupyter setuptools pip wheel "
    "pkg_resources cffi fsspec boto3 botocore paramiko django flask sqlalchemy numba sympy networkx tqdm rich click "
    "wandb gradio ray dask onnx onnxruntime safetensors huggingface_hub accelerate datasets nltk spacy cv2 skimage "
    "fickling picklescan".split()
)
# Of these, a class that is only reconstructed says no more than a class of an unknown package.
_CLASS_PACKAGES = frozenset("torchvision torchaudio transformers diffusers sklearn flax".split())
_REMOVED = frozenset("idlelib lib2to3 distutils imp asyncore asynchat smtpd cgi cgitb".split())
_STANDARD = frozenset(sys.stdlib_module_names) | _REMOVED

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)


def normal(module: str, name: str) -> tuple[str, str]:
    """One spelling for the names of Python 2 and of every numpy.

    >>> normal("__builtin__", "unicode"), normal("numpy._core.multiarray", "scalar")
    (('builtins', 'str'), ('numpy.core.multiarray', 'scalar'))
    """
    module, name = NAME_MAPPING.get((module, name), (module, name))
    module = _MODULES.get(module) or IMPORT_MAPPING.get(module, module)
    if module.startswith("numpy._core"):
        module = "numpy.core" + module[len("numpy._core") :]
    return module, name


def standing(module: str, name: str, uses: Collection[str] = ()) -> Standing:
    """How a name stands: on the list, a class of an unknown package, off the list, or known to be dangerous.

    `uses` says by which opcodes it would be called: what is made by NEWOBJ must be a class.

    >>> standing("collections", "OrderedDict"), standing("posix", "system"), standing("mypackage.nets", "Decoder")
    ('expected', 'dangerous', 'class')
    """
    module, name = normal(module, name)
    if uses and (module, name) in _NAMED_ONLY:
        return "unlisted"
    if "reduce" in uses and name == "Network" and "tflib" in module.split("."):
        return "dangerous"  # its constructor imports and calls what it is told by name; pickles make it empty
    if (module, name) in EXPECTED:
        return "expected"
    if _EXPECTED_CLASSES.fullmatch(f"{module} {name}"):
        return "unlisted" if "reduce" in uses else "expected"  # modules are made empty, never by their constructor
    if not (_IDENTIFIER.fullmatch(module) and _IDENTIFIER.fullmatch(name)):
        return "unlisted"
    if _dangerous(module, name):
        return "dangerous"
    # Making a dataset fetches and unpacks it; a pickle of one is not made by its constructor.
    fetches = "reduce" in uses and {"datasets", "hub", "io"} & set(module.split("."))
    known = is_known(module) and (module.partition(".")[0] not in _CLASS_PACKAGES or fetches)
    return "unlisted" if known or "." in name or not _class_like(name, uses) else "class"


def is_special(module: str, name: str) -> bool:
    """Functions on the list that run what they are given: fine where the stream calls them, since that is read."""
    return normal(module, name) == ("torch.storage", "_load_from_bytes") or name == "_reconstruct_persistent_obj"


def is_known(module: str) -> bool:
    """Whether the module is the standard library's or a well-known package's."""
    first = normal(module, "")[0].partition(".")[0]
    package = normal(first, "")[0].partition(".")[0]
    return package in _STANDARD or package in _KNOWN_PACKAGES


def _dangerous(module: str, name: str) -> bool:
    names = f"{module}.{name}"
    if name.rpartition(".")[2] in _DANGEROUS_CLASSES:
        return True
    if names in _DANGEROUS_NAMES or any(names.startswith(f"{listed}.") for listed in _DANGEROUS_MODULES):
        return True
    # Walking from any object to its class and globals: print.__class__.__base__.__subclasses__
    return "." in name and ("__" in name or f"{module}.{name.partition('.')[0]}" in _DANGEROUS_NAMES)


def _class_like(name: str, uses: Collection[str]) -> bool:
    made = set(uses)
    if made & {"newobj", "newobj_ex"} and not made & {"reduce", "inst", "obj"}:
        return True
    return name.lstrip("_")[:1].isupper()
