"""Anybody's classifier: an ONNX graph with what it takes, cut before its last dense layer; a bad target is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from genvet.core.classifier import Classifier
from genvet.core.data import Labelled
from genvet.core.errors import BadInput, Unsupported
from genvet.core.rng import Rng
from genvet.files.classifiers import load_classifier, save_classifier
from genvet.files.load import load
from genvet.nets import classifiers
from genvet.nets.fitness import fit_target
from genvet.nets.intake import Intake, stated
from genvet.training.classifier import Given, Supervised

onnx = pytest.importorskip("onnx")
WORDS = tuple("abcdefghij")


def digits() -> Labelled:
    bunch = load_digits()
    x, labels = torch.from_numpy(bunch.images).float()[:, None] / 8 - 1, torch.from_numpy(bunch.target)
    return Labelled(x, ("",) * len(x), labels=labels, classes=WORDS)


@pytest.fixture(scope="module")
def trained() -> Classifier:
    knobs = {"steps": 150, "batch": 64, "capacity": 4, "rate": 1e-2, "average": 0.8}
    return Supervised.model_validate(knobs)(Given(digits()), Rng(0)).classifier


def write(
    path: Path,
    network: Classifier,
    *after: str,
    unit: bool = False,
    axes: str = "",
    batch: int | str = "n",
    **open_: Any,
) -> Path:
    """The cnn as a graph, by hand: its convolutions, dense layers, and whatever is to follow."""
    helper, nodes, held, value = onnx.helper, [], [], "x"

    def hold(name: str, tensor: Tensor) -> str:
        held.append(onnx.numpy_helper.from_array(tensor.detach().numpy(), name))
        return name

    def node(op: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, list(inputs), [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    if unit:  # the graph takes values in [0, 1]
        value = node("Sub", node("Mul", value, hold("two", torch.tensor(2.0))), hold("one", torch.tensor(1.0)))
    if axes == "nhwc":
        value = node("Transpose", value, perm=[0, 3, 1, 2])
    for name, layer in [*network.module.features.named_children(), ("head", network.module.head)]:  # type: ignore[operator, union-attr]
        if isinstance(layer, nn.Conv2d):
            weights = hold(f"{name}.w", layer.weight), hold(f"{name}.b", layer.bias)  # type: ignore[arg-type]
            value = node("Conv", value, *weights, pads=[1] * 4)
        elif isinstance(layer, nn.Linear):
            value = node("MatMul", value, hold(f"{name}.w", layer.weight.T.contiguous()))
            value = node("Add", value, hold(f"{name}.b", layer.bias))
        elif isinstance(layer, nn.MaxPool2d):
            value = node("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
        else:
            value = node("Flatten" if isinstance(layer, nn.Flatten) else "Relu", value)
    for op in after:
        value = node(op, value)
    shape = [batch, 8, 8, 1] if axes == "nhwc" else [batch, 1, open_.get("side", 8), open_.get("side", 8)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info(value, 1, None)],
        held,
    )
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())
    return path


@pytest.mark.parametrize(
    ("after", "knobs", "said"),
    [
        (("Softmax",), {}, "range=-1:1"),
        (("Softmax", "Identity"), {"axes": "nhwc"}, "mean=0.5,std=0.5"),
        (("LogSoftmax",), {"batch": 4}, "range=-1:1"),
        ((), {"unit": True}, "range=0:1"),
        ((), {"side": "s"}, "range=-1:1,size=8"),
    ],
)
def test_the_graph_is_the_network(
    trained: Classifier, tmp_path: Path, after: tuple[str, ...], knobs: Any, said: str
) -> None:
    path = write(tmp_path / "m.onnx", trained, *after, **knobs)
    found = load_classifier(f"{path}#{said},classes={':'.join(WORDS)}")
    x = digits().x[:7].clone().requires_grad_()
    assert found.shape == (1, 8, 8) and found.classes == WORDS
    assert torch.allclose(found.features(x), trained.features(x), atol=1e-5)
    assert torch.allclose(found.logits(x), trained.logits(x), atol=1e-4)
    ours, theirs = (torch.autograd.grad(c.logits(x)[:, 3].sum(), x)[0] for c in (found, trained))
    assert torch.allclose(ours, theirs, atol=1e-4) and ours.abs().max() > 0


def test_a_graph_is_kept_as_a_classifier_of_ours(trained: Classifier, tmp_path: Path) -> None:
    found = load_classifier(f"{write(tmp_path / 'm.onnx', trained, batch=3)}#mean=0.5,std=0.5")
    save_classifier(found, tmp_path / "again.safetensors")
    again, x = load_classifier(tmp_path / "again.safetensors"), digits().x[:7]
    assert torch.equal(again(x), found(x)) and str(again) == str(found) and again.classes == tuple("0123456789")
    assert load(tmp_path / "again.safetensors").generators == {}
    config = json.loads(found.metadata["genvet.classifier"])
    shape = {**config["intake"], "entry": [1, 1 << 20, 1 << 20]}
    for lie in (
        {"classes": ["a"]},
        {"classes": [[]] * 10},
        {"intake": shape},
        {"head": config["features"]},
        {"form": 1},
    ):
        object.__setattr__(found, "metadata", {"genvet.classifier": json.dumps({**config, **lie})})
        save_classifier(found, tmp_path / "lie.safetensors")
        with pytest.raises(BadInput, match="no classifier that GenVet wrote"):
            load_classifier(tmp_path / "lie.safetensors")


def test_probabilities_without_a_softmax_are_told_by_their_values(trained: Classifier, tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", trained, "Softmax", "Abs")  # so that no softmax ends it
    (tmp_path / "m.onnx.json").write_text(json.dumps({"range": [-1, 1], "classes": list(WORDS)}))
    x = digits().x[:7]
    assert torch.allclose(load_classifier(path)(x), trained(x), atol=1e-5)
    taken_as_logits = load_classifier(f"{path}#range=-1:1,outputs=logits")
    assert not torch.allclose(taken_as_logits(x), trained(x), atol=0.1)


def test_colours_sizes_and_order_are_brought_to_what_the_graph_takes(trained: Classifier, tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", trained)
    large = load_classifier(f"{path}#range=-1:1,size=16,channels=3")
    x = digits().x[:5]
    assert large.shape == (3, 16, 16)
    blown_up = x.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(-1, 3, -1, -1)
    assert (large(blown_up) - trained(x)).abs().mean() < 0.05
    from genvet.nets.intake import Entry

    intake = Intake(range=(0, 255), mean=(1, 2, 3), std=(2,), order="bgr", layout="nchw", entry=(3, 1, 1))
    given = torch.tensor([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1)
    assert Entry(intake)(given).tolist() == [[(0 - 1) / 2, (127.5 - 2) / 2, (255 - 3) / 2]]


def test_bare_weights_of_one_of_ours_are_read_by_their_family(tmp_path: Path) -> None:
    fresh = classifiers.build("abc", 4, 12, 3, "resnet")
    torch.save(fresh.module.eval().state_dict(), tmp_path / "w.pt")
    found, x = load_classifier(f"{tmp_path / 'w.pt'}#family=resnet,capacity=4,size=12"), torch.rand(2, 3, 12, 12)
    assert torch.equal(found(x), fresh(x)) and found.classes == ("0", "1", "2")
    for said in ("family=vgg,capacity=4,size=12", "family=resnet,capacity=5,size=12", "family=resnet,size=big"):
        with pytest.raises(BadInput, match="not those of such a classifier"):
            load_classifier(f"{tmp_path / 'w.pt'}#{said}")
    with pytest.raises(BadInput, match="is no classifier"):
        load_classifier(tmp_path / "w.pt")


def test_what_is_no_classifier_or_says_too_little_is_told(trained: Classifier, tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", trained)
    cases: list[tuple[str, type[Exception], str]] = [
        ("", BadInput, "does not tell which values it takes"),
        ("#range=1:0", BadInput, "from the lower to the higher"),
        ("#range=0:1,colour=red", BadInput, "colour: Extra inputs"),
        ("#range", BadInput, "key=value"),
        ("#range=0:1,classes=a:b,mean=1:2:3", BadInput, "the mean does not fit"),
        ("#range=0:1,classes=a:b", BadInput, "expected 10 of them; got 2"),
    ]
    for said, kind, message in cases:
        with pytest.raises(kind, match=message):
            load_classifier(f"{path}{said}")
    with pytest.raises(Unsupported, match="ends in a sigmoid"):
        load_classifier(f"{write(path, trained, 'Sigmoid')}#range=0:1")
    with pytest.raises(BadInput, match="leaves the size of its images open"):
        load_classifier(f"{write(path, trained, side='s')}#range=0:1")
    with pytest.raises(BadInput, match="say which values it takes"):
        stated(order="bgr")


def test_a_target_is_fit_where_it_beats_chance_and_the_remedy_is_named(trained: Classifier, tmp_path: Path) -> None:
    data, path = digits(), write(tmp_path / "m.onnx", trained, unit=True)
    some = Labelled(data.x[:100], ("",) * 100, labels=data.labels[:100], classes=WORDS)
    fit = fit_target(trained, some)
    assert fit.accuracy > 0.8 and fit.p_value < 1e-20 and fit.n == 100 and 0.1 <= fit.chance < 0.15
    names = ":".join(WORDS)
    assert fit_target(load_classifier(f"{path}#range=0:1,classes={names}"), some) == fit and not fit.doubt
    # A target may beat chance in spite of a wrong range: that is told.
    for wrong in ("range=-0.3:0.4", "mean=0.4,std=1"):
        doubted = fit_target(load_classifier(f"{path}#{wrong},classes={names}"), some)
        assert doubted.accuracy < fit.accuracy - 0.1 and "[0, 1] (range=0:1): accuracy 0.9" in str(doubted), str(
            doubted
        )
    inverted = Labelled(-data.x[:100], ("",) * 100, labels=data.labels[:100], classes=WORDS)
    with pytest.raises(BadInput, match="does not know real images") as caught:
        fit_target(trained, inverted)
    assert "black and white were swapped" in caught.value.hint
    upside = Labelled(data.x[:100], ("",) * 100, labels=(data.labels[:100] + 1) % 10, classes=WORDS)
    with pytest.raises(BadInput, match=r"p <= 0\.01") as caught:
        fit_target(trained, upside)
    assert "numbered otherwise" in caught.value.hint
    shuffled = Labelled(
        data.x[:100], ("",) * 100, labels=data.labels[torch.randperm(100, generator=Rng(0).block())], classes=WORDS
    )
    with pytest.raises(BadInput) as caught:
        fit_target(trained, shuffled)
    assert "no usual range" in caught.value.hint
    with pytest.raises(BadInput, match="too few real images"):
        fit_target(trained, Labelled(data.x[:1], ("",), labels=data.labels[:1], classes=WORDS))
    with pytest.raises(BadInput, match="are not the classes of this target"):
        fit_target(trained, Labelled(data.x[:9], ("",) * 9, labels=data.labels[:9] * 0, classes=("a", "zz")))
    with pytest.raises(BadInput, match="do not fit this classifier"):
        fit_target(trained, Labelled(torch.zeros(3, 1, 9, 9), ("",) * 3, labels=torch.arange(3), classes=WORDS))
