"""`gatewright attach`."""

from __future__ import annotations

import click

KINDS = ("cilium", "envoy", "envoy-gateway", "istio", "kgateway")
"""Those of `printing.KINDS`."""
HERE, IN_CLUSTER = "127.0.0.1:9002", "gatewright.gatewright:9002"


@click.command()
@click.option("--print", "kind", type=click.Choice(KINDS), required=True, help="What configures the other Envoy.")
@click.option(
    "--engine",
    metavar="HOST:PORT",
    help="Where its policy engine listens for other Envoys; in Kubernetes SERVICE.NAMESPACE:PORT."
    f" [default: {HERE} for envoy, else {IN_CLUSTER}]",
)
@click.option(
    "--route",
    metavar="NAME",
    required=True,
    help="The route: its name in Envoy or in a VirtualService, the HTTPRoute, or for cilium the Service.",
)
@click.option("--namespace", metavar="NAME", default="default", show_default=True, help="Where that is in Kubernetes.")
@click.option("--tls", is_flag=True, help="For envoy: the engine has a certificate, and asks for one.")
def attach(kind: str, engine: str | None, route: str, namespace: str, tls: bool) -> None:
    """Print what an Envoy that others configure needs to run this gateway's policies.

    The Api that the policies are for names the route in `attachTo`; the engine listens by `gatewright run
    --pe.attach-listen HOST:PORT`.
    """
    from gatewright_cli.attaching.printing import attachment_text
    from gatewright_cli.attaching.target import Target

    if tls and kind != "envoy":
        raise click.UsageError(f"--tls: expected --print envoy, got {kind}, which has TLS for the engine's Service")
    target = Target(engine or (HERE if kind == "envoy" else IN_CLUSTER), route, namespace, tls)
    try:
        text = attachment_text(kind, target)
    except ValueError as error:
        raise click.UsageError(f"--engine: {error}") from None
    click.echo(text, nl=False)
