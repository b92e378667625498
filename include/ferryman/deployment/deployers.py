"""The deployer of a declared server, by the place that it runs in."""

from ferryman.deployment.deployer import Deployer
from ferryman.settings import Settings
from ferryman.spec.servers import find_server
from ferryman.spec.serving import MAIN


def deployer_of(settings: Settings, name: str = MAIN) -> Deployer:
    """The deployer of a server; SpecError (exit 2) for one that is not declared."""
    server = find_server(settings.zoo, name)
    if server.place == "container":
        from ferryman.deployment.container.container_deployer import ContainerDeployer

        return ContainerDeployer(settings, name, server)
    if server.place == "kubernetes":
        from ferryman.deployment.cluster.kubernetes_deployer import KubernetesDeployer

        return KubernetesDeployer(settings, name, server)
    from ferryman.deployment.process.process_deployer import ProcessDeployer

    return ProcessDeployer(settings, name, server)
