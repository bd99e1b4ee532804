"""What tests lean on: real engines, and the programs they need."""
