"""What requests to the management API carry and what its responses hold, field by field."""
