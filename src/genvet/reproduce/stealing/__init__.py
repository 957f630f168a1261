"""Stealing machine learning models: attacks and countermeasures for GANs (Hu, Pang, ACSAC 2021)."""

SOURCE = "Hu, Pang: Stealing Machine Learning Models, ACSAC 2021"
TABLES: dict[str, str] = {
    "gaussians": "gaussians.Gaussians",
    "queries": "queries.QueryCounts",
    "architectures": "architectures.Architectures",
    "js": "js.Divergences",
    "priors": "priors.Priors",
    "defences": "defences.Defences",
    "chain": "chain.Chain",
    "case-study": "case_study.CaseStudy",
}
"""Module and class of each table, by the name that the command line knows it by."""
