"""A cluster of Kubernetes on this machine, without a container engine: `cluster()`."""

from e2e.kubernetes.lab.cluster import Cluster, cluster
from e2e.kubernetes.lab.images import image_of_the_product, images_of_the_suite
from e2e.kubernetes.lab.network import refusal

__all__ = ["Cluster", "cluster", "image_of_the_product", "images_of_the_suite", "refusal"]
