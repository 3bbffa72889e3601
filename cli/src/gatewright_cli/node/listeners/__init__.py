"""What a node listens on: its Gateway, certificates and ports, and how listeners close without losing connections."""
