"""What is deployed elsewhere: the Helm chart, the Compose file and the unit of systemd, held to the product."""
