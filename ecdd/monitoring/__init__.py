"""What runs in the field: an event log without anything of the picture, its report, drift triggers and playbook."""
