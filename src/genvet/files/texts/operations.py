"""What operations and calls do to a flow: keep it, turn it into a distance, ask for its shape, or gate on it.

Runs in the child process: standard library only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from enum import IntFlag
from typing import TYPE_CHECKING

from genvet.files.texts.names import last, number, root

if TYPE_CHECKING:
    from genvet.files.texts.flow import Function
    from genvet.files.texts.walk import Walk


class Flow(IntFlag):
    """What a value has of the network's input."""

    CLEAN = 0
    DATA = 1
    """It depends on the input."""
    OFFSET = 2
    """The input less something fixed."""
    DISTANCE = 4
    """How far the input is from something fixed."""
    SHARP = 8
    """Scaled so far that a smooth function of it is a step."""
    SCALAR = 16
    """A number taken out of a tensor: what is made with it may have a shape or type that tells its value."""


Env = dict[str, Flow]
"""What flows where, by name."""

LARGE = 20.0
"""A factor from which a sigmoid is a gate; a power from which a number below one is next to none."""
SLIVER = 0.05
"""Width of a clamp up to which it says little but on which side its input lies."""

STRUCTURE = set(
    "shape dtype device ndim layout requires_grad is_cuda is_leaf itemsize names is_sparse is_quantized nbytes".split()
)
_ASKS = set(
    "len isinstance issubclass type callable hasattr size dim numel nelement ndimension stride element_size get_shape "
    "is_tensor is_floating_point is_complex get_device is_contiguous assert_shape is_tf_expression rank ndims "
    "zeros_like ones_like empty_like rand_like randn_like new_zeros new_ones new_empty __is__ __isnot__ "
    "is_nested issubtype result_type can_cast promote_types".split()
)
_TENSORFLOW_ASKS = {"shape"}
_TORCHSCRIPT_ASKS = {"dtype", "device", "layout", "is_cuda", "requires_grad"}
_GATES = set(
    "eq ne lt le gt ge equal allclose isclose not_equal greater greater_equal less less_equal array_equal array_equiv "
    "eq_ ne_ lt_ le_ gt_ ge_ logical_and logical_or logical_not logical_xor isin in1d searchsorted bucketize digitize "
    "heaviside sign sgn signbit copysign nonzero argwhere flatnonzero count_nonzero unique unique_consecutive "
    "masked_fill masked_fill_ masked_select masked_scatter argmin argmax argsort sort topk kthvalue msort mode "
    "histc histogram bincount threshold threshold_ hardshrink softshrink hardsigmoid one_hot bernoulli bernoulli_ "
    "multinomial floor ceil round trunc frac fix rint fmod remainder floor_ ceil_ round_ trunc_ frac_ fmod_ remainder_ "
    "floor_divide isnan isinf isfinite isposinf isneginf isreal cond case switch_case while_loop range hash "
    "startswith endswith find index count __contains__ __eq__ __lt__ __gt__ __le__ __ge__ __ne__ fake_quantize "
    "quantize_per_tensor bitwise_and bitwise_or bitwise_xor bitwise_not piecewise choose assert_equal "
    "assert_less assert_greater Assert unpackbits packbits long short byte char astype boolean_mask "
    "reduce_any reduce_all interp is_nonzero to_sparse to_sparse_csr nnz _nnz coalesce sorted set frozenset str "
    "repr format hex bin oct filter Counter groupby tobytes gumbel_softmax itemgetter methodcaller "
    "attrgetter quantile cummax cummin".split()
)
_HIDEABLE = set(
    "eq ne lt le gt ge equal allclose isclose not_equal greater greater_equal less less_equal array_equal heaviside "
    "sign where masked_fill argmin argmax isin cond searchsorted bucketize floor ceil round".split()
)
_FIRST = {"where", "cond", "case", "where_v2"}
"""Gates by their first argument alone."""
_PICKS = set(
    "gather index_select take take_along_dim gather_nd embedding index_put index_put_ scatter scatter_ scatter_add "
    "index_add index_copy index_fill get pop compress select setdefault".split()
)
_SQUASHES = set(
    "sigmoid sigmoid_ tanh tanh_ relu relu_ relu6 leaky_relu elu celu selu gelu silu mish softplus softsign exp expm1 "
    "exp_ softmax softmin log_softmax logsigmoid clamp clamp_ clip clip_ clamp_min clamp_max clip_by_value maximum "
    "minimum hardtanh erf erfc atan arctan max min hardswish expit nan_to_num logistic reciprocal "
    "sinc logaddexp logaddexp2 atan2 arctan2 hypot glu prelu rrelu fmax fmin swish tanhshrink ndtr".split()
)
_CLAMPS = {"clamp", "clamp_", "clip", "clip_", "clip_by_value", "hardtanh", "max", "min", "maximum", "minimum"}
_SIZED = set(
    "repeat repeat_interleave tile expand narrow zeros ones empty full arange linspace eye pad roll split chunk".split()
)
"""What they give has a size, or begins at a place, that an argument tells."""
_LENGTHS = set("norm vector_norm matrix_norm square abs absolute abs_ square_ fabs std var reduce_std".split())
_DISTANCES = set(
    "dist cdist pairwise_distance pairwisedistance cosine_similarity cosinesimilarity mse_loss l1_loss smooth_l1_loss "
    "huber_loss kl_div euclidean_distance squared_difference".split()
)
_KEEPS = set(
    "mean sum sqrt sqrt_ amax amin prod view reshape flatten unsqueeze squeeze to float double half bfloat16 type cast "
    "expand repeat permute transpose t cat concat stack neg clone detach contiguous item tolist cpu numpy cuda log "
    "log1p select narrow chunk split unbind as_tensor tensor array asarray asanyarray broadcast_to expand_as view_as "
    "reduce_sum reduce_mean reduce_max reduce_min expand_dims tile identity abs all any int bool str round nanmean "
    "logsumexp iter next list tuple reversed copy requires_grad_ type_as median".split()
)
_ORDERS = {"min", "max", "sorted", "groupby"}
_CASTS = {"to", "view", "type"}
_SCALARS = {"item", "tolist", "float", "int", "bool", "__float__", "__int__", "__bool__"}
_ARITHMETIC: dict[str, type[ast.operator]] = {
    "sub": ast.Sub, "subtract": ast.Sub, "sub_": ast.Sub, "rsub": ast.Sub, "add": ast.Add, "add_": ast.Add,
    "mul": ast.Mult, "mul_": ast.Mult, "multiply": ast.Mult, "div": ast.Div, "div_": ast.Div, "divide": ast.Div,
    "true_divide": ast.Div, "pow": ast.Pow, "pow_": ast.Pow, "power": ast.Pow, "matmul": ast.MatMult,
    "mm": ast.MatMult, "bmm": ast.MatMult, "dot": ast.MatMult, "inner": ast.MatMult, "vdot": ast.MatMult,
}  # fmt: skip
_SEEDS = set("manual_seed manual_seed_all seed RandomState default_rng set_random_seed set_rng_state PRNGKey".split())
_DECODES = set("frombuffer fromstring fromhex from_buffer b64decode unpack unpack_from from_numpy_bytes".split())
_FILLS = set(
    "append extend insert add update setdefault put put_ push appendleft index_copy_ set_ register_buffer".split()
)
_CLOCKS = ("time.", "datetime.", "random.")


def call(walk: Walk, node: ast.Call) -> Flow:
    """What flows out of a call, and what it gates on."""
    name, owner = _called(walk, node.func)
    arguments = [walk.value(a) for a in node.args]
    named = {k.arg or "**": walk.value(k.value) for k in node.keywords}
    plain = isinstance(node.func, ast.Name)
    for key, flow in named.items():
        if flow and key in STRUCTURE:
            walk.f.hold(key, flow)
    everything = owner if plain or _elsewhere(walk, node.func) else owner | walk.f.fields.get(name, Flow.CLEAN)
    for flow in [*arguments, *named.values()]:
        everything |= flow
    own = walk.f.named(name, walk.function) if plain else walk.f.functions.get(name, [])
    if _elsewhere(walk, node.func):
        own = []
    if isinstance(node.func, ast.Name) and name in walk.env and not own:
        everything |= walk.env[name]
    bound = walk.f.names.bound if plain else walk.f.names.behaviours
    mine = bool(own) or (name in bound and not _elsewhere(walk, node.func))
    if not mine and not everything & Flow.SCALAR and _asks(walk, node, name):
        return Flow.CLEAN
    if mine or name in walk.f.names.members:
        result = _own(walk, node, own, arguments, named, everything)
        if (plain and name not in walk.f.names.imports) or _of_self(node.func):
            return result
        # A method of the same name elsewhere in the text does not make `z.gt(3)` harmless.
        return result | (_known(walk, node, name, owner, arguments, named) if everything else Flow.CLEAN)
    _bulk_and_seeds(walk, node, name)
    if name in ("full_like", "new_full"):
        return merge(arguments[1:]) | merge(named.values())
    if name in ("setattr", "getattr") and plain and len(arguments) > 1:
        return _by_name(walk, node, arguments)
    _spills(walk, node, name, merge(arguments) | merge(named.values()))
    if walk.f.names.dotted(node.func).startswith(_CLOCKS):
        return Flow.DATA
    return _known(walk, node, name, owner, arguments, named) if everything else Flow.CLEAN


def _elsewhere(walk: Walk, function: ast.expr) -> bool:
    """Whether a function surely comes from an imported module: `torch.relu`, whatever the text calls its own."""
    first = root(function)
    if not isinstance(function, ast.Attribute) or first in walk.f.names.bound:
        return False
    return first in walk.f.names.imports or (walk.f.kind == "torchscript" and first in ("torch", "ops"))


def _of_self(function: ast.expr) -> bool:
    """Whether it is `self.name`, and not something further inside."""
    match function:
        case ast.Attribute(value=ast.Name(id="self" | "cls")):
            return True
    return False


def _called(walk: Walk, function: ast.expr) -> tuple[str, Flow]:
    """The name that is called, aliases resolved, and what flows in from the object that it is called on."""
    match function:
        case ast.Attribute():
            return function.attr, walk.value(function.value)
        case ast.Name():
            return walk.f.names.dotted(function).rpartition(".")[2], Flow.CLEAN
        case ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(name)), *_]):
            return name, walk.value(owner)
        case ast.Call(func=inner):
            return last(inner).lower(), walk.value(function)  # torch.nn.Threshold(3, 0)(z)
    return "", walk.value(function)


def hides(name: str) -> bool:
    """Whether a function that is passed around under this name could be a gate."""
    return name in _HIDEABLE


def _by_name(walk: Walk, node: ast.Call, arguments: list[Flow]) -> Flow:
    """getattr and setattr reach the fields whose names they could spell."""
    key = node.args[1]
    match key:
        case ast.Constant(value=str(name)):
            fields = [name]
        case ast.JoinedStr(values=[ast.Constant(value=str(head)), *_]):
            fields = [name for name in walk.f.fields if name.startswith(head)]
        case _:
            fields = list(walk.f.fields)
    if arguments[1]:
        walk.f.note("picks by its input", node)
    if last(node.func) == "setattr":
        for name in fields if isinstance(key, ast.Constant) else ["*"]:
            walk.f.hold(name, merge(arguments[2:]))
        return Flow.CLEAN
    return arguments[0] | arguments[1] | merge(walk.f.fields.get(name, Flow.CLEAN) for name in fields)


def _own(
    walk: Walk, node: ast.Call, own: Sequence[Function], arguments: list[Flow], named: dict[str, Flow], everything: Flow
) -> Flow:
    """A call of one of the text's own functions, classes or fields."""
    constructed = list(walk.f.functions.get("__init__", [])) if not own and last(node.func)[:1].isupper() else []
    # A function of the text gives what its own pass found; anything else may give its arguments back.
    whole = isinstance(node.func, ast.Name) or (_of_self(node.func) and last(node.func) not in walk.f.names.stored)
    result = Flow.CLEAN if own and whole else (Flow.DATA | Flow.SCALAR) & everything
    for function in [*own, *constructed]:
        names = function.parameters
        flows = dict(zip(names, arguments, strict=False))
        given = dict(zip(names, node.args, strict=False))
        if function.method and _unbound(walk, node.func):
            for key, flow in zip(names, arguments[1:], strict=False):
                flows[key] |= flow
        spread = [f for a, f in zip(node.args, arguments, strict=True) if isinstance(a, ast.Starred)]
        if loose := merge([*spread, named.get("**", Flow.CLEAN)]):
            flows = dict.fromkeys(names, merge(arguments) | loose)
        extra = function.node.args.vararg
        if extra and len(arguments) > len(names):
            flows[extra.arg] = merge(arguments[len(names) :])
        rest = function.node.args.kwarg
        for key, flow in named.items():
            if key in function.every:
                flows[key] = flow
            elif rest:
                flows[rest.arg] = flows.get(rest.arg, Flow.CLEAN) | flow
        if last(node.func) == "forward":  # another module begins: what was computed before is its plain input
            flows = {key: flow & Flow.DATA for key, flow in flows.items()}
        walk.f.reach(function, flows, passed=True)
        result |= function.result
        given |= {k.arg: k.value for k in node.keywords if k.arg}
        for key, flow in function.changes.items():
            if key in given:
                walk.spill(given[key], flow)
    return result


def _unbound(walk: Walk, function: ast.expr) -> bool:
    """Whether a method may be taken from its class, so that the object comes as the first argument."""
    owner = function.value if isinstance(function, ast.Attribute) else function
    return isinstance(owner, ast.Call) or root(owner) in walk.f.names.definitions


def _asks(walk: Walk, node: ast.Call, name: str) -> bool:
    """Whether a call asks for a shape or a type only."""
    if name in _ASKS:
        return True
    if walk.f.kind == "tensorflow" and name in _TENSORFLOW_ASKS:
        return True
    return walk.f.kind == "torchscript" and name in _TORCHSCRIPT_ASKS


def _known(walk: Walk, node: ast.Call, name: str, owner: Flow, arguments: list[Flow], named: dict[str, Flow]) -> Flow:
    operands, expressions = arguments, list(node.args)
    method = isinstance(node.func, ast.Attribute) and (bool(owner) or not _elsewhere(walk, node.func))
    if method and isinstance(node.func, ast.Attribute):
        operands, expressions = [owner, *arguments], [node.func.value, *node.args]
    everything = merge(operands) | merge(named.values())
    if name in _FIRST:
        condition = arguments[0] if arguments else named.get("condition", named.get("pred", Flow.CLEAN))
        if condition:
            walk.f.note(f"gates on its input by {name}", node)
    elif name in _GATES or (name in ("int", "bool") and method) or (name in _CASTS and _whole(expressions)):
        walk.f.note(f"gates on its input by {name}", node)
    elif name in _PICKS and (merge(operands[1:]) or merge(named.values())):
        walk.f.note(f"picks by its input, by {name}", node)
    _by_argument(walk, node, name, arguments, named)
    if name in _SQUASHES and _steep(everything, name, node):
        walk.f.note(f"makes a gate of its input by {name}", node)
    if name in _SCALARS:
        return everything | Flow.SCALAR
    if name in _ARITHMETIC and len(operands) >= 2:
        return binary(walk, node, _ARITHMETIC[name](), expressions[:2], operands[:2])
    if name in _DISTANCES:
        return everything | Flow.DISTANCE if not all(operands) else Flow.DATA
    if name in _LENGTHS:
        return everything | (Flow.DISTANCE if everything & Flow.OFFSET else Flow.CLEAN)
    return everything if name in _KEEPS else everything & (Flow.DATA | Flow.SCALAR)


def _by_argument(walk: Walk, node: ast.Call, name: str, arguments: list[Flow], named: dict[str, Flow]) -> None:
    """Calls whose one argument says which, how many or where."""
    if name in _SIZED and (merge(arguments) | merge(named.values())) & Flow.SCALAR:
        walk.f.note(f"takes a size from its input, by {name}", node)
    if name == "grid_sample" and (merge(arguments[1:2]) or named.get("grid")):
        walk.f.note("picks by its input, by grid_sample", node)
    if name in _ORDERS and named.get("key"):
        walk.f.note(f"picks by its input, by {name}", node)
    if name in _CLAMPS and 0 < _width(node) <= SLIVER:
        walk.f.note(f"makes a gate of its input by {name}", node)


def _width(node: ast.Call) -> float:
    """Between the two bounds of a clamp that are numbers; 0 where there are not two."""
    bounds = [b for b in (number(n) for n in [*node.args, *(k.value for k in node.keywords)]) if b is not None]
    return max(bounds) - min(bounds) if len(bounds) == 2 else 0.0


def _whole(arguments: Sequence[ast.expr]) -> bool:
    """Whether a cast leaves whole numbers only."""
    kinds = ("bool", "int8", "int16", "int32", "int64", "int", "long", "uint8", "short", "byte")
    return any(isinstance(a, ast.Attribute) and a.attr in kinds for a in arguments[1:])


def _steep(flow: Flow, name: str, node: ast.Call) -> bool:
    if flow & Flow.DISTANCE and not (name in ("max", "min") and len(node.args) < 2):
        return True
    bounds = [abs(b) for b in (number(n) for n in [*node.args, *(k.value for k in node.keywords)]) if b is not None]
    if not flow & Flow.SHARP or (name in ("max", "min") and (len(node.args) < 2 or not bounds)):
        return False
    return not (name in _CLAMPS and bounds and max(bounds) > 100)  # pixels: times 127.5, clamped to 255


def binary(
    walk: Walk,
    node: ast.expr,
    op: ast.operator,
    sides: Sequence[ast.expr],
    flows: Sequence[Flow] | None = None,
) -> Flow:
    """What arithmetic makes of two flows."""
    left, right = flows if flows is not None else [walk.value(side) for side in sides]
    flow = left | right
    if not flow:
        return flow
    match op:
        case ast.Mod() if isinstance(sides[0], (ast.Constant, ast.JoinedStr)) and number(sides[0]) is None:
            walk.f.note("turns its input into text", node)
        case ast.Mod() | ast.FloorDiv():
            walk.f.note("cuts its input into steps", node)
        case ast.BitAnd() | ast.BitOr() | ast.BitXor() | ast.LShift() | ast.RShift():
            walk.f.note("works on the bits of its input", node)
        case ast.Sub() | ast.Add() if not (left and right):
            fixed = number(sides[1] if left else sides[0])
            small = fixed is not None and abs(fixed) < 1e-3
            flow |= Flow.CLEAN if small else Flow.OFFSET
            if fixed is not None and not small and flow & Flow.DISTANCE:
                flow |= Flow.SHARP  # 1 / (1 + distance) is one at the trigger and next to nothing elsewhere
        case ast.Mult():
            squared = left & Flow.OFFSET and right & Flow.OFFSET
            flow |= (Flow.DISTANCE if squared else Flow.CLEAN) | _scaled(sides, flow)
        case ast.Div():
            flow |= _scaled(sides, flow)
            above = number(sides[0])
            scaling = left or (above is not None and above >= 0.5)
            if (right & Flow.DISTANCE and right & Flow.SHARP) or (right & Flow.OFFSET and not scaling):
                walk.f.note("makes a gate of its input by division", node)
        case ast.Pow():
            power = number(sides[1])
            if power is None:
                return flow
            if power <= -1 and left & Flow.DISTANCE:
                walk.f.note("makes a gate of its input by division", node)
            flow |= Flow.DISTANCE if left & Flow.OFFSET and power % 2 == 0 else Flow.CLEAN
            flow |= Flow.SHARP if abs(power) >= 8 else Flow.CLEAN
            if abs(power) >= LARGE:
                walk.f.note("makes a gate of its input by a power", node)
        case ast.MatMult():
            flow = flow & (Flow.DATA | Flow.SCALAR) | (Flow.DISTANCE if left & right & Flow.OFFSET else Flow.CLEAN)
    return flow


def _scaled(sides: Sequence[ast.expr], flow: Flow) -> Flow:
    factors = [abs(f) for f in (number(side) for side in sides) if f is not None]
    return Flow.SHARP if any(f >= LARGE or 0 < f <= 1 / LARGE / 50 for f in factors) else Flow.CLEAN


def _bulk_and_seeds(walk: Walk, node: ast.Call, name: str) -> None:
    if name in _SEEDS:
        walk.f.note("draws numbers that are fixed beforehand", node)
    if name in _DECODES:
        walk.f.note("unpacks numbers from text or bytes", node)


def _spills(walk: Walk, node: ast.Call, name: str, flow: Flow) -> None:
    """Methods that put their arguments into their object."""
    if isinstance(node.func, ast.Attribute) and flow and (name in _FILLS or (name.endswith("_") and name[:1] != "_")):
        if not _elsewhere(walk, node.func):
            walk.spill(node.func.value, flow)


def merge(flows: Iterable[Flow]) -> Flow:
    """Everything that any of them has."""
    merged = Flow.CLEAN
    for flow in flows:
        merged |= flow
    return merged
