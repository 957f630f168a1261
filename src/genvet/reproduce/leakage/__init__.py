"""Training data leakage (a threat analysis of StyleGAN): who was in the training set, and what makes it show."""

SOURCE = "Deep analysis of the threat: training data leakage (model inversion) in StyleGAN"
TABLES: dict[str, str] = {
    "membership": "membership.Membership",
    "dataset-size": "dataset_size.DatasetSize",
    "outliers": "outliers.Outliers",
    "shadow": "shadow.Shadows",
    "factors": "factors.Factors",
    "anonymise": "anonymise.Anonymised",
    "filter": "filter.Filter",
    "dp": "dp.DP",
    "epsilon-audit": "epsilon_audit.EpsilonAudit",
}
"""Module and class of each table, by the name that the command line knows it by."""
