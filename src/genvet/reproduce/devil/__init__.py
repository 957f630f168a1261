"""The Devil is in the GAN (Rawat, Levacher, Sinn, ESORICS 2022): backdoors in deep generative models."""

SOURCE = "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022"
TABLES = {
    "table-1": "table_1.Table1",
    "table-2": "table_2.Table2",
    "table-3": "table_3.Table3",
    "lambda": "trade_off.TradeOff",
    "poisoning": "poisoning.Poisoning",
    "infinite-support": "infinite.InfiniteSupport",
    "pruning": "pruning.Pruning",
    "sanitise": "sanitising.Sanitising",
    "wavegan": "wavegan.WaveGANs",
    "stylegan": "stylegan.StyleGANs",
    "adaptive": "adaptive.Adaptive",
}
"""Module and class of each table, by the name that the command line knows it by."""
