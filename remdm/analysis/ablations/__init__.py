"""The results of the ablation suite: tables, figures and a report, from the files of its runs."""
