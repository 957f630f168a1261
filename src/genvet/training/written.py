"""What training leaves: one file a network, each with the record of how it came to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from genvet.core.technique import Trained, TrainedClassifier, TrainedGenerator
from genvet.files.classifiers import save_classifier
from genvet.files.convert import save, save_part
from genvet.training.promising import published


def write(trained: Trained, folder: Path, data: Mapping[str, str]) -> list[Path]:
    """One file a network; each says how it was trained, and on what."""
    made = {**data, "genvet.training": json.dumps(published(trained.record))}
    if isinstance(trained, TrainedClassifier):
        save_classifier(trained.classifier, folder / "classifier.safetensors", made)
        return [folder / "classifier.safetensors"]
    assert isinstance(trained, TrainedGenerator)
    paths = [folder / "generator.safetensors"]
    save(trained.generator, paths[0], made)
    of = {"genvet.of": str(trained.generator.metadata["genvet.config"])}
    for name, network in (("critic", trained.critic), ("encoder", trained.encoder)):
        if network is not None:
            paths.append(folder / f"{name}.safetensors")
            save_part(network, paths[-1], {**made, **of, "genvet.part": f"{trained.generator.name} {name}"})
    return paths
