"""What an operator of another Envoy writes there so that its routes run this gateway's policies."""
