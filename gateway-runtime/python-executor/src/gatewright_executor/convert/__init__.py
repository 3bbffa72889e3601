"""Protobuf to the SDK's values, and back."""
