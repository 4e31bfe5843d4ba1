"""What a run found: the ensemble file, estimates and the evidence for them."""
