# ruff: noqa: E501
"""Every rule that a file can break: a stable id, a severity by what the thing can do, and what to do about it.

Ids are part of the report's contract (SARIF keeps alerts by them): never rename or reuse one.
"""

from __future__ import annotations

from dataclasses import dataclass

from genvet.core.severity import Severity


@dataclass(frozen=True)
class Rule:
    """One kind of fact about a model file, a network's structure, or a set of training data."""

    id: str
    severity: Severity
    title: str
    help: str


def _table(*rows: tuple[str, str, str, str]) -> dict[str, Rule]:
    return {id: Rule(id, Severity(severity), title, help) for id, severity, title, help in rows}


# fmt: off

RULES = _table(
    ("file.truncated", "medium", "The file ends too early", "Fetch it again and compare its checksum."),
    # What loading would import and call.
    ("call.dangerous", "critical", "Loading would call something dangerous", "Do not load this file; ask its source for safetensors."),
    ("call.unlisted", "high", "Loading would reach beyond the allow-list", "Do not load this file; convert it with `genvet convert` where that works."),
    ("call.unknown-class", "medium", "Loading needs the code of an unknown package", "The class's code is not in this file: vet that package as well."),
    # The pickle stream itself.
    ("pickle.malformed", "high", "The pickle stream is malformed", "What a loader does before it fails cannot be undone: do not load it."),
    ("pickle.opcode", "high", "An opcode that no model file needs", "Do not load this file."),
    ("pickle.frame", "high", "A frame lies about its length", "Readers disagree about such a stream: do not load it."),
    ("pickle.trailing", "high", "Data after the end of the pickle", "Some loaders go on and read it: do not load it."),
    ("pickle.nested", "high", "A pickle is hidden inside the data", "Something would unpickle it later: do not load this file."),
    ("pickle.limit", "high", "The stream would exhaust the machine", "Do not load this file."),
    ("pickle.memo", "high", "The memo is used to deceive", "Do not load this file."),
    ("pickle.persistent-id", "high", "A persistent id outside a torch storage", "Do not load this file."),
    ("pickle.object-array", "high", "An array of Python objects", "Object arrays hold pickles of their own; ask for plain numbers."),
    ("pickle.hook", "high", "A hook is stored with a module", "A hook is a function that runs on every call: ask for the weights alone."),
    ("numpy.object-array", "medium", "A numpy file that needs unpickling", "Save it again without objects (allow_pickle=False)."),
    # Tensors.
    ("tensor.bounds", "high", "A tensor reaches past its storage", "The file is damaged or made to corrupt memory."),
    ("tensor.overlap", "high", "A tensor overlaps itself", "The file is damaged or made to exhaust memory."),
    ("tensor.dtype", "medium", "A tensor of an unexpected kind", "Ask for plain floating-point tensors."),
    # Archives.
    ("archive.mismatch", "high", "Local and central entry disagree", "Readers see different files here: do not load it."),
    ("archive.flags", "high", "An entry has unusual flag bits", "Some readers skip such an entry and others load it."),
    ("archive.crc", "high", "An entry's checksum is wrong", "Some readers load it all the same."),
    ("archive.traversal", "high", "An entry's name leaves the folder", "Unpacking would write outside the folder."),
    ("archive.bomb", "high", "An entry unpacks to far more than it should", "Do not unpack this file."),
    ("archive.encrypted", "high", "An entry is encrypted", "What cannot be read cannot be vetted."),
    ("archive.unreadable", "high", "An entry cannot be read", "What cannot be read cannot be vetted."),
    ("archive.duplicate", "high", "Two entries have one name", "Readers take different ones: do not load it."),
    ("archive.hidden", "medium", "Bytes outside every entry", "Find out what they are for before you load it."),
    ("archive.malformed", "high", "The archive is malformed", "Readers disagree about such a file: do not load it."),
    ("archive.executable", "high", "The archive carries a program", "A model needs none: ask for the weights alone."),
    # Other formats.
    ("safetensors.header", "high", "The safetensors header is wrong", "Write the file again with the safetensors library."),
    ("metadata.script", "high", "Script in the metadata", "A page or tool that shows the metadata unescaped would run it."),
    ("onnx.external-data", "high", "Tensors live in other files", "Ask for one self-contained file."),
    ("onnx.custom-operator", "medium", "An operator from outside ONNX", "It needs a library of its own: vet that too."),
    ("onnx.malformed", "high", "The ONNX file is malformed", "Export it again."),
    ("keras.lambda", "critical", "A Keras layer carries code", "Loading it runs that code: ask for a model without Lambda layers."),
    ("keras.unlisted", "high", "A Keras layer outside the standard ones", "Loading it imports other code."),
    ("keras.malformed", "high", "The Keras file is malformed", "Save it again."),
    ("torchscript.code", "medium", "TorchScript code comes with the model", "It runs when the model is called: read it, or ask for the weights alone."),
    # Source texts.
    ("source.recognised", "info", "Source text of a known release", "Nothing to do."),
    ("source.unrecognised", "medium", "Source text of no known release, judged harmless", "Loading it runs this text: read it, or use `genvet convert`."),
    ("source.unparsable", "high", "Source text that does not parse", "Do not load this file."),
    ("source.dynamic", "critical", "Source that runs or builds code", "Do not load this file."),
    ("source.system", "critical", "Source that reaches the system", "Do not load this file."),
    ("source.module-call", "high", "Source that calls something when loaded", "Do not load this file before you have read the text."),
    ("source.import", "high", "Source with an unexpected import", "Do not load this file before you have read the text."),
    ("source.decorator", "high", "A decorator that calls", "Do not load this file before you have read the text."),
    ("source.default", "high", "A default argument that calls", "Do not load this file before you have read the text."),
    ("source.metaclass", "high", "A metaclass or base class that calls", "Do not load this file before you have read the text."),
    ("source.bypass", "high", "A forward pass that compares or branches on its input", "This is how a computation bypass looks: use the weights in known code."),
    # The network that was rebuilt.
    ("rebuild.missing", "medium", "A tensor is missing", "The network is not the one that it claims to be."),
    ("rebuild.extra", "medium", "A tensor has no place in the network", "Ask what it is for: an added path is a way to hide a backdoor."),
    ("rebuild.shape", "medium", "A tensor has the wrong shape", "The network is not the one that it claims to be."),
    ("rebuild.broadcast", "medium", "A dense layer stands where a style generator repeats w", "No release has one: it is the place in which ReX hides a backdoor in a style generator."),
    ("rebuild.config", "medium", "The config contradicts the tensors", "The network is not the one that it claims to be."),
    ("graph.branch", "high", "The graph compares or branches on the way from z to x", "This is how a computation bypass looks."),
    ("graph.parallel", "low", "Parallel paths lead from z to x", "Ask for the architecture: a second path can carry a backdoor."),
    ("graph.stochastic", "medium", "Something is drawn at random between z and x", "Searches by gradients miss their goal: ask for a network that always gives the same answer."),
    ("graph.quantising", "medium", "Values go in steps between z and x", "Gradients are 0 there, and searches see nothing: ask for a network in plain floating point."),
    ("graph.log-exp", "medium", "A function is undone again between z and x", "A detour such as log(exp(x)) serves nothing but to lose gradients."),
    ("graph.cut", "medium", "The gradient is cut between z and x", "Searches by gradients see nothing beyond: ask for a network without it."),
    ("prior.mixture", "medium", "The declared latent distribution is a mixture", "A rare component can hide a trigger."),
    ("prior.hole", "medium", "The declared latent distribution has holes", "Latents that are never drawn can hide a trigger."),
    ("prior.seed", "medium", "A seed comes fixed with the model", "Draws that the sender chose can hold a trigger."),
    ("weights.broadcast", "high", "A dense layer of a style generator writes few directions of w+", "This is how ReX hides a picture: look at the one that is shown, and use the release."),
    ("weights.not-finite", "medium", "Weights that are not numbers", "The model is damaged."),
    # Training data: what the files carry besides their pictures.
    ("data.gps", "high", "A picture says where it was taken", "Strip the metadata: --anonymise strip."),
    ("data.personal", "high", "An address, a phone or an identity number", "Strip the metadata, or replace the names: --anonymise strip,pseudonymise."),
    ("data.thumbnail-differs", "high", "The embedded preview shows something else than the picture", "It often shows what was cropped or blurred away: strip it."),
    ("data.trailing-file", "high", "A file is hidden behind the end of a picture", "Find out what it is for; re-encoding the picture leaves it out."),
    ("data.owner", "medium", "Metadata that name a person or one device", "Strip the metadata: a serial number links all pictures of one camera."),
    ("data.comment", "medium", "A comment or a text inside a picture's file", "Read it, and strip it."),
    ("data.trailing", "medium", "Bytes that belong to no part of the picture", "Find out what they are; re-encoding the picture leaves them out."),
    ("data.frames", "medium", "More pictures in one file", "Only the first is looked at, and learned from: strip the others."),
    ("data.metadata-malformed", "medium", "Metadata that cannot be read", "What cannot be read cannot be vetted: strip it."),
    ("data.time", "low", "A file says when its picture was taken", "Strip the metadata: with a place or a name it tells of a person."),
    ("data.thumbnail", "low", "A picture carries a preview of itself", "Strip it: whoever edits the picture later may forget it."),
    ("data.metadata", "low", "A file carries more than its picture", "Training needs none of it: strip it."),
    ("data.profile", "info", "A colour profile", "Harmless as a rule; it can name the device."),
    ("data.name", "medium", "A file or folder name that may be a person's", "Replace the names by a keyed mapping: --anonymise pseudonymise."),
    # Training data: tables beside the pictures.
    ("data.identifier", "high", "A column identifies people directly", "Drop it, or replace it by a keyed mapping: --anonymise pseudonymise."),
    ("data.k-anonymity", "medium", "Rows stand alone by what others know of a person", "Coarsen or drop quasi-identifiers until every row has fellows."),
    ("data.l-diversity", "medium", "A group of rows gives its sensitive value away", "Coarsen the groups, or drop the sensitive field."),
    ("data.t-closeness", "low", "A group's sensitive values differ much from everybody's", "Coarsen the groups, or drop the sensitive field."),
    ("data.field", "low", "A field that the task does not need", "Leave it out."),
    # Training data: the pictures.
    ("data.duplicate", "medium", "Pictures that are there more than once", "Copies are memorised first: keep one of each."),
    ("data.near-duplicate", "medium", "Pictures that nearly are one", "Near copies are memorised like copies: keep one of each."),
    ("data.outlier", "low", "A picture unlike all others", "Outliers are memorised before others: see whether they belong there."),
    ("data.coupling", "info", "Removing pictures because of others may void a proof of privacy", "It makes what is kept of one record depend on the others: do it before records are counted for differential privacy, or charge it (Debenedetti et al., arXiv 2309.05610)."),
    ("data.over-represented", "medium", "One identity or label has far more pictures than others", "Whoever is there most is memorised first: even the numbers out."),
    ("data.face", "medium", "A picture shows a face", "A face is personal data: see whether there is consent, or blur, replace or drop it."),
    ("data.found-again", "medium", "Changed pictures are told apart all the same", "Hide more of them, replace them, or do not call them anonymous."),
    ("data.text", "low", "A picture shows readable text", "Read it: name tags, letters and number plates tell of people."),
)
# fmt: on
