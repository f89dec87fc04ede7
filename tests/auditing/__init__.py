"""The auditor: it finds what nobody has invalidated, and accuses nobody else."""
