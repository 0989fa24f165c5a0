"""The data sets, one file each; `datasets.registered` registers them with Dassl, which takes seconds to import."""
