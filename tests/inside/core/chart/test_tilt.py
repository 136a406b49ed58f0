"""What `tilt up` builds and installs: its file, run with a real Helm and without Tilt."""

from typing import Any

import yaml

from tests.chart.helm import PROJECT, Helm, Manifest


def test_the_file_installs_the_chart_with_the_image_that_it_builds(helm: Helm) -> None:
    built: list[str] = []
    applied: list[Manifest] = []
    forwarded: dict[str, list[str]] = {}

    def rendered(chart: str, *, name: str, values: list[str]) -> str:
        files = [f"--values={PROJECT / path}" for path in values]
        return helm.run("template", name, str(PROJECT / chart), *files)

    functions: dict[str, Any] = {
        "docker_build": lambda image, context: built.append(image),
        "helm": rendered,
        "k8s_yaml": lambda text: applied.extend(filter(None, yaml.safe_load_all(text))),
        "k8s_resource": lambda name, port_forwards: forwarded.update({name: port_forwards}),
    }
    exec((PROJECT / "Tiltfile").read_text("utf-8"), {"__builtins__": {}, **functions})

    [deployment] = [one for one in applied if one["kind"] == "Deployment"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert [container["image"].partition(":")[0]] == built, "Tilt puts its image in by this name"
    [(name, ports)] = forwarded.items()
    assert name == deployment["metadata"]["name"]
    assert ports == [str(container["ports"][0]["containerPort"])]
