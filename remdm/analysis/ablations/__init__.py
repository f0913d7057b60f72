"""What the ablation suite found: tables, figures and a report, from the files its runs left."""
