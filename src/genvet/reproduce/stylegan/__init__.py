"""Tackling fake images in cybersecurity (Laubmann, Reschke, 2025): what is inside a StyleGAN."""

SOURCE = "Laubmann, Reschke: Tackling fake images in cybersecurity, 2025 (arXiv:2507.13722)"
TABLES: dict[str, str] = {
    "equalized-rate": "equalized_rate.EqualizedRate",
    "sweep": "sweep.Sweeping",
    "scale": "scale.Scalings",
    "prune": "prune.Pruning",
    "disentangle": "disentangle.Disentanglement",
    "detect": "detect.Detection",
    "cross-resolution": "cross_resolution.CrossResolution",
}
"""Module and class of each table, by the name that the command line knows it by."""
