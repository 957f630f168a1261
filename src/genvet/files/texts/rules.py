"""What a program text would do when it is loaded, and what it could reach when it is called.

Runs in the child process: standard library only.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from genvet.files.texts.names import Names, last, root

Note = Callable[[str, str, ast.AST], None]
"""Takes a rule, a message and the node that shows it."""

_IMPORTS = {
    "module_src": "numpy scipy torch torch_utils dnnlib math typing typing_extensions collections functools itertools "
    "copy re warnings dataclasses abc enum numbers operator string random time contextlib einops torchvision timm "
    "training pg_modules feature_networks __future__",
    "tensorflow": "numpy tensorflow dnnlib math typing collections functools itertools __future__",
    "torchscript": "torch",
    "keras-lambda": "numpy tensorflow keras math",
}
_EXPECTED = {kind: set(names.split()) for kind, names in _IMPORTS.items()}

_SYSTEM = set(
    "os sys subprocess shutil socket ctypes cffi posix nt pty signal resource mmap io tempfile pathlib glob fileinput "
    "http urllib urllib2 urllib3 requests httpx aiohttp ftplib smtplib telnetlib socketserver ssl asyncio webbrowser "
    "xmlrpc multiprocessing threading thread concurrent sched atexit faulthandler gc platform getpass pwd shelve dbm "
    "sqlite3 zipfile tarfile winreg winapi pip ensurepip venv setuptools pkg_resources distutils site sysconfig "
    "idlelib turtle tkinter antigravity commands popen2 legacy".split()
)
_DYNAMIC = set(
    "importlib imp pkgutil runpy pickle cPickle cloudpickle dill joblib marshal code codeop codecs builtins "
    "__builtin__ __main__ ast dis inspect types trace bdb pdb cProfile profile timeit doctest pydoc base64 binascii "
    "zlib bz2 lzma gzip zipimport linecache weakref copyreg sre_compile numba llvmlite cython torch_utils.custom_ops "
    "dnnlib.submission".split()
)
# Names that mean the same wherever they hang: a module re-exported by another, or a function that reaches out.
_SYSTEM_ATTRIBUTES = set(
    "os sys subprocess shutil socket ctypes posix ctypeslib f2py cpp_extension hub system popen Popen check_output "
    "check_call getoutput getstatusoutput spawnl spawnv spawnve posix_spawn execv execve execl execvp fork forkpty "
    "urlopen urlretrieve open_url makedirs unlink rmtree fromfile tofile memmap DataSource loadtxt savetxt genfromtxt "
    "load_library load_inline from_file read_text write_text read_bytes write_bytes from_blob multiprocessing rpc "
    "distributed model_zoo load_state_dict_from_url load_url download_url_to_file collect_env loadmat savemat "
    "tensorboard get_plugin custom_ops gfile py_func py_function numpy_function io_ops read_file write_file "
    "load_op_library load_file_system_library contrib io datasets datasource savez savez_compressed fromregex dump "
    "open_memmap save_image write_png write_jpeg write_video onnx export_chrome_trace export_stacks stride_tricks "
    "LowLevelCallable".split()
)
_DYNAMIC_ATTRIBUTES = set(
    "importlib import_module builtins __builtins__ pickle marshal runpy exec exec_module execfile load_from_bytes "
    "get_obj_by_name call_func_by_name construct_class_by_name get_module_from_obj_name get_obj_from_module "
    "CompilationUnit package PackageImporter resolve_name frompyfunc f_globals f_locals f_builtins f_back gi_frame "
    "tb_frame co_code func_globals func_code allow_pickle run_source inspect types serialization testing distutils "
    "npyio runstring rundocs weave GraphModule fx dynamo inductor bottleneck config_module Timer compile_command "
    "import_hook reconstruct_persistent_obj src_to_module module_to_src_dict rebuild_parameter attrgetter "
    "methodcaller get_type_hints ForwardRef evaluate_forward_ref singledispatch singledispatchmethod read_array "
    "make_dataclass".split()
)
# Modules by these names hang on others as well: dnnlib.util.requests. Left out are functions of numpy and torch.
_MODULES = (_SYSTEM | _DYNAMIC) - set("signal trace profile code platform commands sched types legacy".split())
# Of NVlabs' package, what a network needs; the rest opens files and addresses, and calls by name.
_DNNLIB = ("dnnlib.EasyDict", "dnnlib.util.EasyDict", "dnnlib.util.format_time", "dnnlib.tflib")
_PRIVATE = (
    *("torch.nn.", "torch._six", "torch._assert", "torch._C._nn"),
    *("training.", "pg_modules.", "feature_networks."),  # a network's own package keeps nothing from it
)
_LOOKUPS = {"getattr", "setattr", "delattr"}
_WORDS = re.compile(r"\w+")
_FILES = {"load", "save", "open"}
_BUILTINS = {
    "source.dynamic": set(
        "exec eval compile globals locals vars dir breakpoint __import__ __builtins__ __loader__ __spec__".split()
    ),
    "source.system": set("open input exit quit help".split()),
}
# Dunder names a network may use; every other one leads somewhere that a network has no business.
_DUNDERS = set(
    "__init__ __name__ __doc__ __call__ __len__ __getitem__ __setitem__ __iter__ __next__ __repr__ __str__ __version__ "
    "__all__ __add__ __mul__ __sub__ __enter__ __exit__ __constants__ __annotations__ __post_init__ __contains__ "
    "__eq__ __hash__ __future__ __class__ __main__ __file__ __parameters__ __buffers__ __torch__ __is__ __isnot__ "
    "__not__ __and__ __or__ __author__ __slots__ __forward__ __delattr__ __delitem__ __setattr__ __torch_mangle__ "
    "__jit_unused_properties__ __jit_ignored_attributes__".split()
)
_AT_LOAD = set("__new__ __setstate__ __del__ __reduce__ __reduce_ex__ __getstate__ __getattribute__".split())
_MEMORY = set(
    "__array_interface__ __array_struct__ __cuda_array_interface__ __array__ __dlpack__ __buffer__ __fspath__".split()
)
_CLASS_MAKING = set(
    "__init_subclass__ __set_name__ __class_getitem__ __prepare__ __mro_entries__ __instancecheck__ "
    "__subclasscheck__ __subclasshook__ __torch_function__ __getnewargs__ __getnewargs_ex__".split()
)
_DECORATORS = set(
    "torch_utils.persistence.persistent_class torch_utils.misc.profiled_function staticmethod classmethod property "
    "abc.abstractmethod torch.no_grad torch.enable_grad torch.inference_mode torch.jit.script torch.jit.ignore "
    "torch.jit.unused torch.jit.export functools.wraps functools.lru_cache functools.cache typing.overload "
    "torch.cuda.amp.autocast torch.cuda.amp.custom_fwd torch.cuda.amp.custom_bwd dataclasses.dataclass "
    "torch.autograd.function.once_differentiable contextlib.contextmanager".split()
)
_HARMLESS_CALLS = set(
    "list tuple dict set frozenset float int bool range len numpy.sqrt numpy.array numpy.asarray "
    "numpy.float32 numpy.log2 numpy.log numpy.exp numpy.prod numpy.arange numpy.linspace torch.device dnnlib.EasyDict "
    "collections.namedtuple typing.TypeVar collections.OrderedDict dataclasses.field torch.Size functools.partial "
    "logging.getLogger".split()
)
_STATEMENTS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Pass)


def check(tree: ast.Module, names: Names, kind: str, note: Note) -> None:
    """Note everything that breaks a rule. Of TorchScript and lambdas, which are no modules, only the reach counts."""
    if kind in ("module_src", "tensorflow"):
        _Loading(names, note).block(tree.body, "the module")
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        _imports(node, kind, note)
        _reach(node, names, kind, note, called)
        _patches(node, names, note)


class _Loading:
    """Walks what runs when the text is loaded: statements, class bodies, decorators, defaults, annotations."""

    def __init__(self, names: Names, note: Note) -> None:
        self.names, self.note = names, note

    def block(self, body: list[ast.stmt], where: str) -> None:
        self.properties: set[str] = set()
        for node in body:
            self.statement(node, where)
            if isinstance(node, ast.FunctionDef) and any(
                self.names.dotted(d) == "property" for d in node.decorator_list
            ):
                self.properties.add(node.name)

    def statement(self, node: ast.stmt, where: str) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.function(node, where)
            case ast.ClassDef():
                self.class_(node)
            case ast.If():
                self.expression(node.test, where)
                self.block(node.body + node.orelse, where)
            case ast.Try() if all(isinstance(n, _STATEMENTS) for n in node.body):
                self.block(node.body + node.orelse + node.finalbody, where)
                for handler in node.handlers:
                    self.block(handler.body, where)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                self.assignment(node, where)
            case ast.Expr(value=ast.Constant()):
                pass
            case ast.Expr():
                self.expression(node.value, where, rule="source.module-call")
            case _ if not isinstance(node, _STATEMENTS):
                self.note(
                    "source.module-call", f"{where} runs a {type(node).__name__.lower()} statement when loaded", node
                )

    def assignment(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, where: str) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if any(isinstance(n, (ast.Attribute, ast.Subscript)) for n in ast.walk(target)):
                self.note("source.module-call", f"{where} changes something else when loaded", node)
        if node.value is not None:
            self.expression(node.value, where)
        if isinstance(node, ast.AnnAssign):
            self.expression(node.annotation, "an annotation")

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, where: str) -> None:
        for decorator in node.decorator_list:
            self.decorator(decorator, self.properties)
        if node.name in _CLASS_MAKING:
            self.note("source.metaclass", f"{node.name} runs when classes are made", node)
        if node.name in _AT_LOAD or (where == "the module" and node.name in ("__getattr__", "__dir__")):
            self.note("source.module-call", f"{node.name} runs when objects are loaded or looked into", node)
        arguments = node.args
        for default in [*arguments.defaults, *arguments.kw_defaults]:
            if default is not None:
                self.expression(default, f"a default argument of {node.name}", rule="source.default")
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        for annotation in [node.returns, *(a.annotation for a in every if a)]:
            if annotation is not None:
                self.expression(annotation, f"an annotation of {node.name}", rule="source.default")

    def class_(self, node: ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            self.decorator(decorator, set())
        for base in node.bases:
            if last(base) == "type" or not isinstance(base, (ast.Name, ast.Attribute, ast.Subscript)):
                self.note("source.metaclass", f"{node.name} has a base that is made when loaded", base)
            self.expression(base, f"a base of {node.name}", rule="source.metaclass")
        for keyword in node.keywords:
            self.note("source.metaclass", f"{node.name} is made with {keyword.arg or '**'}=", keyword.value)
        self.block(node.body, f"class {node.name}")

    def decorator(self, node: ast.expr, properties: set[str]) -> None:
        called = node.func if isinstance(node, ast.Call) else node
        dotted = self.names.dotted(called)
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr="setter" | "getter") if owner in properties:
                return
        if dotted not in _DECORATORS or not self.genuine(called):
            self.note("source.decorator", f"the decorator {dotted or 'expression'} runs when the text is loaded", node)
        if isinstance(node, ast.Call):
            for argument in [*node.args, *(k.value for k in node.keywords)]:
                self.expression(argument, "a decorator", rule="source.decorator")

    def genuine(self, function: ast.expr) -> bool:
        """Whether a name still is what was imported under it, or the builtin."""
        if isinstance(function, ast.Name) and function.id not in self.names.imports:
            return self.names.builtin(function.id)
        return self.names.imported(function) and root(function) not in self.names.bound

    def expression(self, node: ast.expr, where: str, rule: str = "source.module-call") -> None:
        """Nothing in it may call, but what is known to be harmless; lambdas only call later."""
        for inner in _now(node):
            if isinstance(inner, ast.Call) and not self.harmless(inner.func):
                self.note(rule, f"{where} calls {self.names.dotted(inner.func) or 'something'} when loaded", inner)
            elif isinstance(inner, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
                self.note(rule, f"{where} does more than hold a value", inner)

    def harmless(self, function: ast.expr) -> bool:
        dotted = self.names.dotted(function)
        layer = dotted.startswith("torch.nn.") and dotted.count(".") == 2 and last(function)[:1].isupper()
        known = dotted in _HARMLESS_CALLS or dotted.startswith("math.") or layer
        return known and self.genuine(function)


def _now(node: ast.expr) -> Iterator[ast.AST]:
    """The parts of an expression that are evaluated with it."""
    todo: list[ast.AST] = [node]
    while todo:
        inner = todo.pop()
        yield inner
        if isinstance(inner, ast.Lambda):
            todo += [d for d in [*inner.args.defaults, *inner.args.kw_defaults] if d is not None]
        else:
            todo += ast.iter_child_nodes(inner)


def _imports(node: ast.AST, kind: str, note: Note) -> None:
    """Imports outside the expected list, at any level; system modules are told apart."""
    match node:
        case ast.Import():
            found = [alias.name for alias in node.names]
        case ast.ImportFrom():
            if node.level or any(alias.name == "*" for alias in node.names):
                note("source.import", "an import that hides what it brings in", node)
            found = [f"{node.module or ''}.{alias.name}".removesuffix(".*") for alias in node.names]
        case _:
            return
    for name in found:
        prefixes = {".".join(name.split(".")[:n]) for n in range(1, 5)}
        prefixes |= {name.partition(".")[0].lstrip("_")}
        parts = {part.lstrip("_") for part in name.split(".")[1:]}
        if prefixes & _SYSTEM or parts & (_SYSTEM_ATTRIBUTES | _MODULES):
            note("source.system", f"imports {name}", node)
        elif prefixes & _DYNAMIC or parts & (_DYNAMIC_ATTRIBUTES | _FILES):
            note("source.dynamic", f"imports {name}", node)
        elif not prefixes & _EXPECTED[kind] or _inner(name):
            note("source.import", f"imports {name}", node)


def _inner(dotted: str) -> bool:
    """Whether a name leads into what a package keeps to itself, or to what of dnnlib no network needs."""
    if dotted.startswith("dnnlib.") and not dotted.startswith(_DNNLIB) and dotted != "dnnlib.util":
        return True
    private = any(part.startswith("_") and not part.startswith("__") for part in dotted.split("."))
    return private and not dotted.startswith(_PRIVATE)


def _reach(node: ast.AST, names: Names, kind: str, note: Note, called: set[int]) -> None:
    """Names and attributes that lead out of a network, wherever they stand."""
    match node:
        case ast.Name(id=name, ctx=ast.Load()):
            for rule, listed in _BUILTINS.items():
                if name in listed and names.builtin(name) and not (kind == "tensorflow" and name == "globals"):
                    note(rule, f"uses {name}", node)
            if _dunder(name):
                note("source.dynamic", f"uses {name}", node)
            if name in _LOOKUPS and names.builtin(name) and id(node) not in called:
                note("source.dynamic", f"hands {name} on", node)
        case ast.Attribute(attr=name):
            _attribute(node, name, names, kind, note)
        case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr")):
            _by_name(node, names, note)
        case ast.Constant(value=str(value)) if len(value) < 200 and any(map(_dunder, _WORDS.findall(value))):
            if not any(c.isspace() for c in value):  # not in a sentence
                note("source.dynamic", f"spells {value} as text", node)
        case ast.keyword(arg="allow_pickle"):
            note("source.dynamic", "lets numpy unpickle", node.value)
        case ast.FunctionDef(name=name) if name in _MEMORY:
            note("source.dynamic", f"{name} hands memory out as an array", node)
        case ast.Name(id=name, ctx=ast.Store()) if name in _MEMORY:
            note("source.dynamic", f"{name} hands memory out as an array", node)
        case ast.Subscript(value=ast.Call(func=ast.Name(id="globals")), slice=key) if kind == "tensorflow":
            if not isinstance(key, ast.Name):
                note("source.dynamic", "looks a global up by a name made on the spot", node)


def _attribute(node: ast.Attribute, name: str, names: Names, kind: str, note: Note) -> None:
    bare = name.lstrip("_")
    if _dunder(name) or bare in _DYNAMIC_ATTRIBUTES:
        note("source.dynamic", f"reaches for {name}", node)
    elif bare in _SYSTEM_ATTRIBUTES or (name in _FILES and not _own(node.value)):
        note("source.system", f"reaches for {names.dotted(node) or name}", node)
    elif names.imported(node) and root(node) not in names.bound:
        dotted = names.dotted(node)
        if bare in _MODULES:
            note("source.system", f"reaches for {dotted or name}", node)
        elif _inner(dotted):
            note("source.import", f"reaches for {dotted}", node)
    elif kind != "torchscript" and name.startswith("register_") and name.endswith("hook"):
        note("source.bypass", f"{name}: a hook is a path that the forward pass does not show", node)


def _own(owner: ast.expr) -> bool:
    """Whether it is self, cls or super() and nothing that these hold: that could be a module."""
    if isinstance(owner, ast.Call):
        owner = owner.func
    return isinstance(owner, ast.Name) and owner.id in ("self", "cls", "super")


def _by_name(node: ast.Call, names: Names, note: Note) -> None:
    """getattr and its kin: by a plain name, or on `self` by a name that does not begin with an underscore."""
    assert isinstance(node.func, ast.Name)
    verb = node.func.id
    if len(node.args) < 2 or node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
        note("source.dynamic", f"{verb} with hidden arguments", node)
        return
    owner, key = node.args[:2]
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        made = ast.copy_location(ast.Attribute(owner, key.value, ast.Load()), node)
        _attribute(made, key.value, names, "module_src", note)
    elif not (isinstance(owner, ast.Name) and owner.id in ("self", "cls", "ctx") and _plain_key(key)):
        note("source.dynamic", f"{verb} by a name made on the spot", node)
    if verb in ("setattr", "delattr") and not (isinstance(owner, ast.Name) and owner.id in ("self", "ctx")):
        note("source.dynamic", f"{verb} on something else than self", node)


def _plain_key(key: ast.expr) -> bool:
    """A loop variable, an entry of a list, or text that begins with letters: nothing put together by other means."""
    match key:
        case ast.Name() | ast.Attribute():
            return True
        case ast.Subscript(value=inner):
            return _plain_key(inner)
        case ast.JoinedStr(values=[ast.Constant(value=str(head)), *_]):
            return head[:1].isalpha()
        case ast.BinOp(op=ast.Add() | ast.Mod(), left=ast.Constant(value=str(head))):
            return head[:1].isalpha()
        case ast.Call(func=ast.Attribute(attr="format", value=ast.Constant(value=str(head)))):
            return head[:1].isalpha()
    return False


def _patches(node: ast.AST, names: Names, note: Note) -> None:
    """Assignments into imported modules: they change code that is not in this text."""
    if not isinstance(node, (ast.Attribute, ast.Subscript)) or not isinstance(node.ctx, (ast.Store, ast.Del)):
        return
    if names.imported(node) and root(node) not in names.bound and not names.dotted(node).startswith("torch.backends."):
        note("source.dynamic", f"changes {names.dotted(node) or root(node)}", node)


def _dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and len(name) > 4 and name not in _DUNDERS
