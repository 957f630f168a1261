"""MIRROR: model inversion for deep learning networks with high fidelity (An et al., NDSS 2022)."""

SOURCE = "An et al.: MIRROR, NDSS 2022"
TABLES: dict[str, str] = {
    "white-box": "white_box.WhiteBox",
    "black-box": "black_box.BlackBox",
    "ablation": "ablation.Ablation",
    "baselines": "baselines.Baselines",
    "selection": "selection.Selection",
    "defences": "defences.Defences",
    "observations": "observations.Observations",
    "other-domain": "other_domain.OtherDomain",
    "service": "service.Service",
    "faces": "faces.Faces",
    "controls": "controls.Controls",
    "hypotheses": "hypotheses.Hypotheses",
}
"""Module and class of each table, by the name that the command line knows it by."""
