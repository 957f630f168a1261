"""What a Keras model's settings would make: layers that carry code, and layers from outside Keras."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from genvet.core.modelfile import Call
from genvet.core.printable import printable
from genvet.files.pickles import globals as known
from genvet.files.reading import Reading
from genvet.files.texts import source

_DEPTH = 200
_TEXT = re.compile(rb"[\x20-\x7e]{3,}")

# Modules whose classes are Keras' own. Functions are looked up by name: those of the second list only compute.
_MODULES = re.compile(
    r"(tf_)?keras(\.src|\.api|\._tf_keras\.keras)?(\.(layers|models|initializers|regularizers|constraints|activations"
    r"|losses|metrics|optimizers|dtype_policies|random|engine|ops\.(operation|function|node))(\.\w+)*)?"
)
_FUNCTIONS = re.compile(
    r"(tf_)?keras(\.src|\.api)?\.(activations|initializers|regularizers|constraints|losses|metrics)(\.\w+)*"
)
_CARRIERS = {
    "Lambda": "a Lambda layer",
    "TorchModuleWrapper": "a wrapper that unpickles a torch module",
    "TFSMLayer": "a layer that loads a TensorFlow graph from a folder",
    "JaxLayer": "a layer of foreign functions",
    "FlaxLayer": "a layer of foreign functions",
}
# Of TensorFlow's functions, which these layers call by name while the model is made, those that only compute.
_NAMED_CALLS = {"TFOpLambda", "ClassMethod", "InstanceMethod"}
_COMPUTES = re.compile(
    r"(math|nn|linalg|signal|image|random|bitwise|__operators__|compat\.v1\.(nn|math|image))\.\w+(\.\w+)?"
    r"|(reshape|cast|concat|transpose|stack|split|unstack|expand_dims|squeeze|tile|gather|where|zeros|ones|zeros_like"
    r"|ones_like|identity|shape|clip_by_value|pad|slice|strided_slice|repeat|reverse|roll|range|fill|one_hot|einsum"
    r"|matmul|tensordot|broadcast_to|convert_to_tensor|stop_gradient|cumsum|argsort|sort|norm|abs|add|subtract"
    r"|multiply|divide|maximum|minimum|pow|exp|sqrt|square|tanh|sigmoid|round|sign|reduce_\w+|logical_\w+)"
)
_PLAIN = {"__tuple__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "slice", "__keras_tensor__"}
_LAYERS = frozenset(
    """
    Sequential Functional Model InputLayer Input Dense EinsumDense Activation Embedding Masking Lambda Identity
    Conv1D Conv2D Conv3D Convolution1D Convolution2D Convolution3D SeparableConv1D SeparableConv2D DepthwiseConv1D
    DepthwiseConv2D Conv1DTranspose Conv2DTranspose Conv3DTranspose Deconvolution2D MaxPooling1D MaxPooling2D
    MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D AdaptiveAveragePooling2D
    LSTM GRU SimpleRNN RNN LSTMCell GRUCell SimpleRNNCell StackedRNNCells ConvLSTM1D ConvLSTM2D ConvLSTM3D
    TimeDistributed Bidirectional Wrapper Normalization BatchNormalization BatchNormalizationV1
    BatchNormalizationV2 LayerNormalization UnitNormalization GroupNormalization RMSNormalization SpectralNormalization
    Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise AlphaDropout
    ActivityRegularization MultiHeadAttention GroupQueryAttention Attention AdditiveAttention Reshape Flatten
    RepeatVector Permute Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D
    ZeroPadding2D ZeroPadding3D Concatenate Average Maximum Minimum Add Subtract Multiply Dot ReLU Softmax LeakyReLU
    PReLU ELU ThresholdedReLU Rescaling Resizing CenterCrop RandomCrop RandomFlip RandomTranslation RandomRotation
    RandomZoom RandomContrast RandomBrightness Discretization CategoryEncoding Hashing IntegerLookup StringLookup
    TextVectorization
    Zeros Ones Constant RandomNormal RandomUniform TruncatedNormal VarianceScaling Orthogonal Identity GlorotNormal
    GlorotUniform HeNormal HeUniform LecunNormal LecunUniform L1 L2 L1L2 OrthogonalRegularizer MaxNorm NonNeg UnitNorm
    MinMaxNorm DTypePolicy Policy Adam AdamW SGD RMSprop Adagrad Adadelta Adamax Nadam Ftrl Lion LossScaleOptimizer
    BinaryCrossentropy CategoricalCrossentropy SparseCategoricalCrossentropy MeanSquaredError MeanAbsoluteError
    Huber Hinge KLDivergence Poisson BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy Accuracy AUC Mean
    Precision Recall ExponentialDecay CosineDecay PiecewiseConstantDecay PolynomialDecay
    """.split()
)


def check(settings: Any, reading: Reading, place: str) -> None:
    """Walk through everything that Keras would deserialise, and note what is code or leads to it."""
    waiting: list[tuple[Any, str, int]] = [(settings, place, 0)]
    while waiting:
        value, where, depth = waiting.pop()
        if depth > _DEPTH:
            reading.note("pickle.limit", "the model's settings are nested too deep", place=place)
            continue
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                where = _check_object(value, reading, where)
            waiting += [(item, where, depth + 1) for item in value.values() if isinstance(item, (dict, list))]
        elif isinstance(value, list):
            waiting += [(item, where, depth + 1) for item in value if isinstance(item, (dict, list))]


def check_text(text: str, reading: Reading, place: str) -> None:
    """Settings that do not parse: whether they name a layer that carries code."""
    if hit := re.search(r"\"(Lambda|__lambda__)\"", text):
        shown = printable(text[hit.start() : hit.start() + 300], 300)
        reading.note("keras.lambda", "the settings name a Lambda layer", place=place, detail=shown)


def _check_object(value: dict[str, Any], reading: Reading, place: str) -> str:
    """One object that Keras would make; gives its place, for what is inside."""
    name = value["class_name"]
    config = value.get("config")
    own = config.get("name") if isinstance(config, dict) else None
    where = f"{place}/{own}" if place and isinstance(own, str) else own if isinstance(own, str) else place
    if name in ("Lambda", "__lambda__"):
        _check_lambda(config, reading, where)
    elif name in _CARRIERS:
        reading.note("keras.lambda", _CARRIERS[name], place=where, detail=printable(config, 300))
    _check_arguments(name, config, reading, where)
    module = value.get("module")
    registered = value.get("registered_name")
    function = config if name == "function" and isinstance(config, str) else name
    listed = _FUNCTIONS if name == "function" else _MODULES
    if isinstance(module, str) and module and ("." in function or not listed.fullmatch(module)):
        _reaches(module, function, reading, where)
    elif isinstance(registered, str) and ">" in registered and not registered.startswith("keras"):
        _unlisted(f"{registered} is registered by other code", reading, where)
    elif name == "function" and not isinstance(module, str):
        _unlisted(f"the function {config!r:.80} is looked up by name", reading, where)
    elif (
        not module and name not in _LAYERS and name not in _PLAIN and name not in ("function", "__lambda__", *_CARRIERS)
    ):
        _unlisted(f"{name} is no layer of Keras", reading, where)
    return where


def _check_arguments(name: str, config: Any, reading: Reading, place: str) -> None:
    """Layers of Keras' own that call by name or open a file, as their settings tell them."""
    settings = config if isinstance(config, dict) else {}
    function = settings.get("function", settings.get("cls_ref"))
    if name in _NAMED_CALLS and not (isinstance(function, str) and _COMPUTES.fullmatch(function)):
        _unlisted(f"{name} calls {printable(function, 80)} of TensorFlow", reading, place)
    if isinstance(settings.get("vocabulary"), str):
        message = f"{name} would open {printable(settings['vocabulary'], 120)} for its vocabulary"
        _unlisted(message, reading, place)


def _reaches(module: str, name: str, reading: Reading, place: str) -> None:
    """A class or function that loading would import from outside Keras."""
    standing = known.standing(module, name)
    standing = standing if standing == "dangerous" else "unlisted"
    if len(reading.calls) < reading.limits.evidence:
        call = Call(
            module=printable(module), name=printable(name), called=True, standing=standing, place=printable(place)
        )
        reading.calls.append(call)
    message = f"loading would import {module}.{name}"
    reading.note("call.dangerous" if standing == "dangerous" else "keras.unlisted", message, place=place)


def _unlisted(message: str, reading: Reading, place: str) -> None:
    reading.note("keras.unlisted", message, place=place)


def _check_lambda(config: Any, reading: Reading, place: str) -> None:
    """Show the code that comes with a Lambda layer. Compiled code is never loaded, only looked at."""
    config = config if isinstance(config, dict) else {"value": config}
    function = config.get("function", config.get("value"))
    if isinstance(function, dict) and function.get("class_name") == "__lambda__":
        # The walk comes to the inner object by itself.
        reading.note("keras.lambda", "a Lambda layer carries compiled code", place=place)
        return
    text = function[0] if isinstance(function, list) and function else function
    if not isinstance(text, str):
        shown = printable(function, 300)
        reading.note("keras.lambda", "a Lambda layer calls a function", place=place, detail=shown)
        return
    if compiled := _decoded(text):
        names = " ".join(s.decode("ascii") for s in _TEXT.findall(compiled)[:60])
        message = f"{len(compiled)} bytes of compiled code, with these names and texts"
        reading.note("keras.lambda", message, place=place, detail=names)
        return
    reading.note("keras.lambda", "a Lambda layer carries program text", place=place, detail=text[:1000])
    if not text.isidentifier() and len(reading.sources) < reading.limits.evidence:
        source.judge(text, reading, place, "keras-lambda", ())


def _decoded(text: str) -> bytes:
    """The bytes behind base64 text, where it is that and not a name; marshalled code starts with 0xe3 or 0x63."""
    try:
        found = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return found if found[:1] in (b"\xe3", b"\x63") else b""
