"""Scores the reader on other scanners' fixtures: file, what it is, what GenVet says.

    python benchmarks/score_card.py [FOLDER]

FOLDER (../shared/data/suspicious) holds the test files of picklescan, modelscan and modelaudit; its README says where
they come from. They are read, never loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from genvet.core.errors import BadInput
from genvet.core.severity import Severity, worst
from genvet.files.load import read

FOLDER = Path(__file__).parents[1] / "../shared/data/suspicious"

_PICKLESCAN = {
    "hostile": "GHSA-4675-36f9-wf6r.pkl GHSA-4r9r-ch6f-vxmx.pkl GHSA-6vqj-c2q5-j97w.pkl GHSA-7wx9-6375-f5wh.pkl "
    "GHSA-8r4j-24qv-fmq9.pkl GHSA-9xph-j2h6-g47v.pkl GHSA-f54q-57x4-jg88.pkl GHSA-g344-hcph-8vgg.pkl "
    "GHSA-g38g-8gr9-h9xp-osx-support.pkl GHSA-g38g-8gr9-h9xp-uuid.pkl GHSA-jgw4-cr84-mqxg.bin GHSA-m869-42cg-3xwr.pkl "
    "GHSA-r8g5-cgf2-4m4m.pkl GHSA-vv6j-3g6g-2pvj.pkl GHSA-xp4f-hrf8-rxw7.pkl broken_model.pkl io_FileIO.pkl "
    "malicious0.pkl malicious1.7z malicious1.zip malicious10.pkl malicious11.pkl malicious14.pkl malicious16.pkl "
    "malicious18.pkl malicious1_0x1.zip malicious1_central_directory.zip malicious1_v0.pkl malicious1_v3.pkl "
    "malicious1_v4.pkl malicious1_wrong_ext.zip malicious2_v0.pkl malicious2_v3.pkl malicious2_v4.pkl malicious3.pkl "
    "malicious4.pickle malicious6.pkl malicious7.pkl malicious8.pkl malicious9.pkl types_CodeType.pkl",
    "benign": "benign0_v0.pkl benign0_v3.pkl benign0_v4.pkl int_array.npy int_arrays.npz int_arrays_compressed.npz "
    "new_pytorch_model.bin object_array.npy object_arrays.npz object_arrays_compressed.npz pytorch_model.bin",
    "no model": "bad_pytorch.pt not_a_pickle.bin",
}
_MODELSCAN = {"hostile": "unsafe_zip_pytorch.pt"}
_MODELAUDIT = {
    "hostile": "evil.pickle exploit1_basic_torch_bypass.pkl exploit6_ordereddict_bypass.pkl malicious_eval.pt "
    "malicious_lambda.h5 memo_attack.pkl nested_pickle_base64.pkl nested_pickle_raw.pkl script_injection.safetensors "
    "stack_global_attack.pkl",
    "benign": "safe_large_model.pkl safe_model.h5 safe_model.pt safe_model.safetensors safe_model_with_binary.pkl",
}
EXPECTED = {
    f"{folder}/{name}": kind
    for folder, kinds in {"picklescan": _PICKLESCAN, "modelscan": _MODELSCAN, "modelaudit": _MODELAUDIT}.items()
    for kind, names in kinds.items()
    for name in names.split()
}


def verdict(path: Path) -> tuple[str, Severity, str]:
    """hostile, benign or no model, with the worst severity and the rules that were broken."""
    try:
        file = read(path)
    except BadInput as error:
        return "no model", Severity.INFO, str(error).partition("; got ")[2]
    severity = worst(e.severity for e in file.evidence)
    said = "hostile" if severity >= Severity.HIGH else "benign"
    return said, severity, " ".join(sorted({e.rule for e in file.evidence}))


def score(folder: Path = FOLDER) -> Iterator[tuple[str, str, str, Severity, str]]:
    """(file, expected, said, severity, rules) of every file."""
    for name, kind in EXPECTED.items():
        yield name, kind, *verdict(folder / name)


def main(folder: Path) -> None:
    right = 0
    print(f"{'file':<58} {'expected':<9} {'verdict':<9} {'severity':<9} rules")
    for name, kind, said, severity, rules in score(folder):
        right += said == kind
        print(f"{name:<58} {kind:<9} {said:<9} {severity:<9} {rules}{'' if said == kind else '   <-- WRONG'}")
    print(f"{right} of {len(EXPECTED)} right")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
