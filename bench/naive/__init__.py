"""What the bench measures against: an executor as one writes it first."""
